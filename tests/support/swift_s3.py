"""A real S3 server that verifies signatures, for tests: OpenStack Swift with s3api and tempauth, all in one process.

    swift_s3.py STATE_DIR PORT ACCOUNT:USER SECRET [REGION]

It runs in an environment of its own (build/swift, which `make venv` makes, or Debian's python3-swift) and imports
nothing of ours. Prints "READY <port>" once it listens (PORT 0 picks a free one); the access key is the whole
"ACCOUNT:USER". STATE_DIR must be on a file system with user xattrs. It ends when its standard input, if that is a
pipe, is closed: so it never outlives the test that started it.

Environment:
  SWIFT_S3_MINPART  smallest part but the last, in bytes (5242880)
  SWIFT_S3_DOMAIN   base domain for buckets in the host name (none)
  SWIFT_S3_LOG      a file that gets a line for each request: method, target, status, bytes in, bytes out
  SWIFT_S3_RULE     how the payload line of a presigned request is found, which is what server families differ in:
      header   the header if sent, else UNSIGNED-PAYLOAD   (Swift, AWS, RGW)
      minio    the query value, else the header, else UNSIGNED-PAYLOAD
      query    the query value, else UNSIGNED-PAYLOAD      (SeaweedFS)
      literal  always UNSIGNED-PAYLOAD                     (Garage, Versity)
"""

import eventlet

eventlet.monkey_patch()

# Everything below has to see the patched standard library.
import logging  # noqa: E402
import os  # noqa: E402
import stat  # noqa: E402
import sys  # noqa: E402
from array import array  # noqa: E402
from time import monotonic  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import parse_qs  # noqa: E402

from eventlet import hubs, wsgi  # noqa: E402
from swift.common import constraints, storage_policy, utils  # noqa: E402
from swift.common.ring.ring import RingData  # noqa: E402
from swift.common.wsgi import SwiftHttpProtocol, loadapp  # noqa: E402

HOST = "127.0.0.1"
PROXY = """
[DEFAULT]
swift_dir = {state}
log_level = ERROR
log_custom_handlers = __main__.log_to_stderr
[pipeline:main]
pipeline = catch_errors requests gatekeeper healthcheck cache listing_formats bulk rule s3api tempauth copy slo dlo \
versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
node_timeout = 60
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:requests]
paste.filter_factory = __main__:log_filter
path = {log}
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:cache]
paste.filter_factory = __main__:cache_filter
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:rule]
paste.filter_factory = __main__:rule_filter
rule = {rule}
[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = false
max_upload_part_num = 10000
min_segment_size = {minpart}
storage_domain = {domain}
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
rate_limit_under_size = 0
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
"""
SWIFT = """
[swift-hash]
swift_hash_path_prefix = t
swift_hash_path_suffix = t
[storage-policy:0]
name = one
default = yes
"""


def log_to_stderr(conf, name, to_console, route, fmt, logger, adapted):
    """Swift writes to syslog; a test wants to see it."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(logging.StreamHandler(sys.stderr))


class Cache(dict[str, Any]):
    """Stands in for memcached, in this process: two to three times the request rate."""

    def __bool__(self):
        return True

    def get(self, key, *args, **kwargs):
        value, until_s = super().get(key, (None, 0))
        return value if not until_s or until_s > monotonic() else None

    def set(self, key, value, time=0, **kwargs):
        self[key] = (value, monotonic() + time if time else 0)

    def delete(self, key, *args, **kwargs):
        self.pop(key, None)

    def incr(self, key, delta=1, time=0, **kwargs):
        value = max(0, (self.get(key) or 0) + delta)
        self.set(key, value, time=time)
        return value


def cache_filter(global_conf, **conf):
    """Gives every request the cache."""
    cache = Cache()

    def wrap(app):
        def call(env, start):
            env["swift.cache"] = cache
            return app(env, start)

        return call

    return wrap


def rule_filter(global_conf, rule="header", **conf):
    """Makes Swift a server of another family.

    It reads signed header values from env["headers_raw"] and the payload line from env["HTTP_..."], so changing only
    the latter is enough.
    """
    key = "HTTP_X_AMZ_CONTENT_SHA256"

    def wrap(app):
        def call(env, start):
            query = parse_qs(env.get("QUERY_STRING", ""))
            if rule != "header" and "X-Amz-Credential" in query:
                value = query.get("X-Amz-Content-Sha256", [None])[0]
                if rule == "minio":
                    value = value or env.get(key)
                elif rule == "literal":
                    value = None
                env.pop(key, None)
                if value:
                    env[key] = value
            return app(env, start)

        return call

    return wrap


class Counted:
    """A request's body, and how much of it was read."""

    def __init__(self, source):
        self.source, self.bytes = source, 0

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read(self, *args, **kwargs):
        read = self.source.read(*args, **kwargs)
        self.bytes += len(read)
        return read

    def readline(self, *args, **kwargs):
        read = self.source.readline(*args, **kwargs)
        self.bytes += len(read)
        return read


def log_filter(global_conf, path="", **conf):
    """Writes a line for each request, when it has been answered whole."""

    def wrap(app):
        if not path:
            return app
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

        def call(env, start):
            body = env["wsgi.input"] = Counted(env["wsgi.input"])
            query = env.get("QUERY_STRING", "")
            target = env.get("SCRIPT_NAME", "") + env["PATH_INFO"] + (query and "?" + query)
            status, sent = [""], 0

            def started(line, *args, **kwargs):
                status[0] = line.split()[0]
                return start(line, *args, **kwargs)

            answer = app(env, started)
            try:
                for piece in answer:
                    sent += len(piece)
                    yield piece
            finally:
                if hasattr(answer, "close"):
                    answer.close()
                line = f"{env['REQUEST_METHOD']} {target.replace(' ', '%20')} {status[0]} {body.bytes} {sent}\n"
                os.write(log, line.encode("latin-1", "replace"))

        return call

    return wrap


def listen(port=0):
    """A listening socket of this machine alone."""
    return eventlet.listen((HOST, port), backlog=512)


def write(folder, name, text):
    """Make a configuration file; its path."""
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write(text)
    return path


def end_with_the_starter():
    """End when whoever holds the other end of standard input is gone; only where that is a pipe."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        hubs.trampoline(0, read=True)
        os._exit(0)


def main(state, port, access, secret, region="us-east-1"):
    """Start the three storage servers and the proxy before them, and serve for ever."""
    state = os.path.abspath(state)
    os.makedirs(os.path.join(state, "d1", "tmp"), exist_ok=True)
    account, _, user = access.partition(":")
    write(state, "swift.conf", SWIFT)
    conf = write(
        state,
        "proxy-server.conf",
        PROXY.format(
            state=state,
            account=account,
            user=user,
            secret=secret,
            region=region,
            rule=os.environ.get("SWIFT_S3_RULE", "header"),
            minpart=os.environ.get("SWIFT_S3_MINPART", "5242880"),
            domain=os.environ.get("SWIFT_S3_DOMAIN", ""),
            log=os.environ.get("SWIFT_S3_LOG", ""),
        ),
    )
    utils.set_swift_dir(state)
    utils.validate_configuration()
    constraints.reload_constraints()
    storage_policy.reload_storage_policies()

    from swift.account.server import AccountController
    from swift.container.server import ContainerController
    from swift.obj.server import ObjectController

    settings = {
        "devices": state,
        "swift_dir": state,
        "mount_check": "false",
        "disable_fallocate": "true",
        "fallocate_reserve": "0",
        "log_level": "ERROR",
        "log_custom_handlers": "__main__.log_to_stderr",
    }
    quiet = utils.NullLogger()
    servers = {"account": AccountController, "container": ContainerController, "object": ObjectController}
    for name, server in servers.items():
        sock = listen()
        # One device, one replica, one partition: what the ring builder would make of them.
        place = {"device": "d1", "ip": HOST, "port": sock.getsockname()[1]}
        ring = RingData([array("H", [0])], [{"id": 0, "region": 1, "zone": 1, "weight": 1.0, **place}], 32)
        ring.save(os.path.join(state, name + ".ring.gz"))
        eventlet.spawn(wsgi.server, sock, server(settings), quiet, protocol=SwiftHttpProtocol)
    front = listen(int(port))
    app = loadapp(conf, global_conf={"swift_dir": state})
    eventlet.spawn(end_with_the_starter)
    print("READY", front.getsockname()[1], flush=True)
    wsgi.server(front, app, quiet, protocol=SwiftHttpProtocol)


if __name__ == "__main__":
    main(*sys.argv[1:])
