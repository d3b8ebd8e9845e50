"""Which endpoint a path leads to, and which protocol it belongs to.

Paths of the OCI face are read from the right, since a repository may be called `blobs` or `a/tags/list` (oci.md 1.0):
the last words say which endpoint it is, and everything before them is the repository. The hold API has fixed paths, the
old ones and those below /xrpc/. What lives below /signed/ is for those who bring a signed URL.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from model.errors import PathUnknown


class Face(Enum):
    """A protocol: above all, the shape that errors have in it."""

    OCI = "oci"
    HOLD = "hold"
    SIGNED = "signed"


class Endpoint(Enum):
    """What a path is about; the value is its name in log and metrics."""

    PING = "ping"
    CATALOG = "catalog"
    BLOB = "blob"
    UPLOADS = "uploads"
    UPLOAD = "upload"
    MANIFEST = "manifest"
    TAGS = "tags"
    REFERRERS = "referrers"

    HOLD_START = "hold-start"
    HOLD_PART_URL = "hold-part-url"
    HOLD_PART = "hold-part"
    HOLD_PARTS = "hold-parts"
    HOLD_COMPLETE = "hold-complete"
    HOLD_ABORT = "hold-abort"
    HOLD_MOVE = "hold-move"
    HOLD_PUT_URL = "hold-put-url"
    HOLD_GET_URL = "hold-get-url"
    HOLD_HEAD_URL = "hold-head-url"
    HOLD_CAPABILITIES = "hold-capabilities"
    XRPC_START = "xrpc-start"
    XRPC_PART_URL = "xrpc-part-url"
    XRPC_PART = "xrpc-part"
    XRPC_COMPLETE = "xrpc-complete"
    XRPC_ABORT = "xrpc-abort"
    XRPC_BLOB = "xrpc-blob"

    SIGNED_BLOB = "signed-blob"
    SIGNED_UPLOAD = "signed-upload"


SIGNABLE: Final = frozenset({Endpoint.HOLD_PART, Endpoint.SIGNED_BLOB, Endpoint.SIGNED_UPLOAD})
"""Where a signature in the URL means something; elsewhere it is one more parameter that nobody knows."""
SIGNED_ONLY: Final = frozenset({Endpoint.SIGNED_BLOB, Endpoint.SIGNED_UPLOAD})
"""Where nobody gets in without one."""

HOLD_PATHS: Final[Mapping[str, Endpoint]] = {
    "/start-multipart": Endpoint.HOLD_START,  # H010
    "/part-presigned-url": Endpoint.HOLD_PART_URL,  # H014
    "/complete-multipart": Endpoint.HOLD_COMPLETE,  # H025
    "/abort-multipart": Endpoint.HOLD_ABORT,  # H028
    "/move": Endpoint.HOLD_MOVE,  # H030
    "/put-presigned-url": Endpoint.HOLD_PUT_URL,  # H031
    "/get-presigned-url": Endpoint.HOLD_GET_URL,  # H032
    "/head-presigned-url": Endpoint.HOLD_HEAD_URL,  # H032
    "/capabilities": Endpoint.HOLD_CAPABILITIES,  # H033
    "/xrpc/io.atcr.hold.initiateUpload": Endpoint.XRPC_START,
    "/xrpc/io.atcr.hold.getPartUploadUrl": Endpoint.XRPC_PART_URL,
    "/xrpc/io.atcr.hold.uploadPart": Endpoint.XRPC_PART,
    "/xrpc/io.atcr.hold.completeUpload": Endpoint.XRPC_COMPLETE,
    "/xrpc/io.atcr.hold.abortUpload": Endpoint.XRPC_ABORT,
    "/xrpc/com.atproto.sync.getBlob": Endpoint.XRPC_BLOB,
}
PARTS: Final = "/multipart-parts/"
XRPC: Final = "/xrpc/"
SIGNED: Final = "/signed/"

_BY_WORD: Final = {"manifests": Endpoint.MANIFEST, "blobs": Endpoint.BLOB, "referrers": Endpoint.REFERRERS}
_SIGNED_BY_WORD: Final = {"blobs": Endpoint.SIGNED_BLOB, "uploads": Endpoint.SIGNED_UPLOAD}


class Found(NamedTuple):
    """Where a path leads; neither the repository nor the arguments are checked yet."""

    endpoint: Endpoint
    repository: str = ""
    arguments: tuple[str, ...] = ()


def split(path: str) -> Found:
    """The endpoint, the repository and the arguments that a path says.

    Raises:
        PathUnknown: no endpoint lives there.
    """
    if path.startswith("/v2/"):
        return _oci(path[4:])
    if path == "/v2":
        return Found(Endpoint.PING)
    if path in HOLD_PATHS:
        return Found(HOLD_PATHS[path])
    if path.startswith(PARTS):  # H018
        words = tuple(path.removeprefix(PARTS).split("/"))
        if all(words) and len(words) <= 2:
            return Found(Endpoint.HOLD_PARTS if len(words) == 1 else Endpoint.HOLD_PART, "", words)
    elif path.startswith(SIGNED):
        word, _, argument = path.removeprefix(SIGNED).partition("/")
        if word in _SIGNED_BY_WORD and argument and "/" not in argument:
            return Found(_SIGNED_BY_WORD[word], "", (argument,))
    raise PathUnknown("nothing lives at this path; the registry is below /v2/")


def face_of(path: str) -> Face:
    """The protocol that a path belongs to, whether anything lives there or not."""
    if path.startswith(SIGNED):
        return Face.SIGNED
    if path in HOLD_PATHS or path.startswith((PARTS, XRPC)):
        return Face.HOLD
    return Face.OCI


def _oci(rest: str) -> Found:
    """The endpoint below /v2/."""
    if not rest:
        return Found(Endpoint.PING)
    if rest == "_catalog":
        return Found(Endpoint.CATALOG)
    before, _, argument = rest.rpartition("/")
    repository, _, word = before.rpartition("/")
    if word == "uploads" and repository.endswith("/blobs"):
        repository = repository.removesuffix("/blobs")
        return Found(Endpoint.UPLOAD, repository, (argument,)) if argument else Found(Endpoint.UPLOADS, repository)
    if word == "tags" and argument == "list" and repository:
        return Found(Endpoint.TAGS, repository)
    if word == "blobs" and argument == "uploads" and repository:
        return Found(Endpoint.UPLOADS, repository)  # without the slash at the end, as some clients write it
    if word in _BY_WORD and repository and argument:
        return Found(_BY_WORD[word], repository, (argument,))
    raise PathUnknown("nothing lives at this path; see the endpoints of the OCI distribution specification")
