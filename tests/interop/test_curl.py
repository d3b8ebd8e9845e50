"""curl: every way of the specification to bring a blob in, by hand, and what follows when a client goes away."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.interop import layouts
from tests.interop.wire import Answer, Registry, parse_answer
from tests.support import needs

COMMAND_S = 30
OCTETS = "Content-Type: application/octet-stream"


class Curl:
    """`curl`, one request at a time; a body is given as bytes and sent from standard input."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.program = needs.tool("curl")

    def __call__(self, method: str, target: str, *flags: str, body: bytes | None = None) -> Answer:
        sent = () if body is None else ("--data-binary", "@-")
        words = self.words(method, target, *flags, *sent)
        done = subprocess.run(words, input=body or b"", capture_output=True, timeout=COMMAND_S, check=True)
        return parse_answer(done.stdout)

    def words(self, method: str, target: str, *flags: str) -> list[str]:
        """The command line of a request; `target` is a path, or a Location as the registry gave it."""
        verb = ("--head",) if method == "HEAD" else ("--request", method)
        url = target if target.startswith("http") else self.registry.url + target
        return [self.program, "--silent", "--show-error", "--include", "--globoff", *verb, *flags, url]

    def open_upload(self, repo: str) -> str:
        opened = self("POST", f"/v2/{repo}/blobs/uploads/", body=b"")
        assert opened.status == 202
        return opened.headers["Location"]


@pytest.fixture
def curl(registry: Registry) -> Curl:
    return Curl(registry)


def closing(location: str, digest: str) -> str:
    """The upload's Location with the digest that finishes it."""
    return f"{location}{'&' if '?' in location else '?'}digest={digest}"


def content_range(start: int, data: bytes) -> tuple[str, ...]:
    """The flags of a chunk that starts at `start`, counted in bytes."""
    return ("--header", OCTETS, "--header", f"Content-Range: {start}-{start + len(data) - 1}")


def test_a_blob_is_pushed_in_one_request(curl: Curl, repo: str) -> None:
    data = layouts.filler(repo, 300_000)
    digest = layouts.sha256(data)
    pushed = curl("POST", f"/v2/{repo}/blobs/uploads/?digest={digest}", "--header", OCTETS, body=data)

    assert (pushed.status, pushed.digest) == (201, digest)
    assert curl("GET", pushed.headers["Location"]).body == data


def test_a_blob_is_pushed_in_two_requests(curl: Curl, repo: str) -> None:
    data = layouts.filler(repo, 300_000)
    digest = layouts.sha256(data)
    pushed = curl("PUT", closing(curl.open_upload(repo), digest), "--header", OCTETS, body=data)

    assert (pushed.status, pushed.digest) == (201, digest)
    assert curl("GET", f"/v2/{repo}/blobs/{digest}").body == data


def test_a_blob_is_pushed_in_chunks(curl: Curl, repo: str) -> None:
    data = layouts.filler(repo, 250_000)
    digest = layouts.sha256(data)
    location = curl.open_upload(repo)
    for start in range(0, len(data), 100_000):
        chunk = data[start : start + 100_000]
        taken = curl("PATCH", location, *content_range(start, chunk), body=chunk)
        assert (taken.status, taken.headers["Range"]) == (202, f"0-{start + len(chunk) - 1}")
        location = taken.headers["Location"]
    pushed = curl("PUT", closing(location, digest), body=b"")

    assert (pushed.status, pushed.digest) == (201, digest)
    assert curl("GET", f"/v2/{repo}/blobs/{digest}").body == data


def test_the_last_chunk_may_come_with_the_closing_request(curl: Curl, repo: str) -> None:
    first, last = layouts.filler(f"{repo} 1", 90_000), layouts.filler(f"{repo} 2", 10_000)
    digest = layouts.sha256(first + last)
    taken = curl("PATCH", curl.open_upload(repo), *content_range(0, first), body=first)
    pushed = curl("PUT", closing(taken.headers["Location"], digest), *content_range(len(first), last), body=last)

    assert (pushed.status, pushed.digest) == (201, digest)
    assert curl("GET", f"/v2/{repo}/blobs/{digest}").body == first + last


def test_a_stream_of_unknown_length_is_taken(curl: Curl, repo: str) -> None:
    """curl asks `Expect: 100-continue` first and then sends in chunked transfer coding."""
    data = layouts.filler(repo, 2_500_000)
    digest = layouts.sha256(data)
    words = curl.words("PATCH", curl.open_upload(repo), "--header", OCTETS, "--upload-file", "-")
    done = subprocess.run(words, input=data, capture_output=True, timeout=COMMAND_S, check=True)
    taken = parse_answer(done.stdout)
    assert (taken.status, taken.headers["Range"]) == (202, f"0-{len(data) - 1}")
    pushed = curl("PUT", closing(taken.headers["Location"], digest), body=b"")

    assert pushed.status == 201
    assert curl("GET", f"/v2/{repo}/blobs/{digest}").body == data


def test_a_chunk_out_of_order_is_told_where_to_go_on(curl: Curl, repo: str) -> None:
    data = layouts.filler(repo, 20_000)
    taken = curl("PATCH", curl.open_upload(repo), *content_range(0, data[:10_000]), body=data[:10_000])
    refused = curl("PATCH", taken.headers["Location"], *content_range(15_000, data[15_000:]), body=data[15_000:])

    assert (refused.status, refused.headers["Range"]) == (416, "0-9999")
    resumed = curl("PATCH", refused.headers["Location"], *content_range(10_000, data[10_000:]), body=data[10_000:])
    assert resumed.status == 202
    assert curl("PUT", closing(resumed.headers["Location"], layouts.sha256(data)), body=b"").status == 201


@pytest.mark.parametrize(
    "framing",
    [("Transfer-Encoding: chunked",), ("Transfer-Encoding:", "Content-Length: 3000000")],
    ids=["chunked", "counted"],
)
def test_an_upload_goes_on_where_a_vanished_client_left_it(curl: Curl, repo: str, framing: tuple[str, ...]) -> None:
    """The second client knows only the first Location, and the 416 tells it the rest."""
    data = layouts.filler(repo, 3_000_000)
    opened = curl.open_upload(repo)
    flags = (*(word for line in (OCTETS, *framing) for word in ("--header", line)), "--upload-file", "-")
    with subprocess.Popen(
        curl.words("PATCH", opened, *flags), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as first:
        assert first.stdin is not None
        # Once this returns, all but a pipe's worth of the two million bytes has left for the registry.
        first.stdin.write(data[:2_000_000])
        first.stdin.flush()
        first.kill()

    refused = curl("PATCH", opened, *content_range(0, data[:10]), body=data[:10])
    assert refused.status == 416
    held = int(refused.headers["Range"].removeprefix("0-")) + 1
    assert 0 < held <= 2_000_000
    rest = data[held:]
    resumed = curl("PATCH", refused.headers["Location"], *content_range(held, rest), body=rest)
    assert (resumed.status, resumed.headers["Range"]) == (202, f"0-{len(data) - 1}")
    assert curl("PUT", closing(resumed.headers["Location"], layouts.sha256(data)), body=b"").status == 201
    assert curl("GET", f"/v2/{repo}/blobs/{layouts.sha256(data)}").body == data


def test_an_upload_tells_how_far_it_is_and_can_be_cancelled(curl: Curl, repo: str) -> None:
    data = layouts.filler(repo, 5_000)
    opened = curl.open_upload(repo)
    curl("PATCH", opened, *content_range(0, data), body=data)
    told = curl("GET", opened)
    assert (told.status, told.headers["Range"]) == (204, "0-4999")

    assert curl("DELETE", told.headers["Location"]).status == 204
    assert curl("GET", opened).status == 404


def test_a_blob_with_another_digest_is_refused(curl: Curl, repo: str) -> None:
    wrong = layouts.sha256(b"something else")
    refused = curl("PUT", closing(curl.open_upload(repo), wrong), "--header", OCTETS, body=b"these bytes")

    assert refused.status == 400
    assert refused.json()["errors"][0]["code"] == "DIGEST_INVALID"
    assert curl("HEAD", f"/v2/{repo}/blobs/{wrong}").status == 404


RANGES: Mapping[str, tuple[int, slice]] = {
    "500-1499": (206, slice(500, 1500)),
    "9000-": (206, slice(9000, None)),
    "-500": (206, slice(-500, None)),
    "9000-20000": (206, slice(9000, None)),
}


@pytest.mark.parametrize("asked", RANGES)
def test_a_range_of_a_blob_is_served(curl: Curl, registry: Registry, repo: str, asked: str) -> None:
    data = layouts.filler(repo, 10_000)
    registry.put_blob(repo, data, layouts.sha256(data))
    status, piece = RANGES[asked]
    got = curl("GET", f"/v2/{repo}/blobs/{layouts.sha256(data)}", "--range", asked)

    first, last, _ = piece.indices(len(data))
    assert (got.status, got.headers["Content-Range"]) == (status, f"bytes {first}-{last - 1}/10000")
    assert got.body == data[piece]


def test_a_broken_download_goes_on_where_it_stopped(curl: Curl, registry: Registry, repo: str, tmp_path: Path) -> None:
    data = layouts.filler(repo, 400_000)
    registry.put_blob(repo, data, layouts.sha256(data))
    (tmp_path / "blob").write_bytes(data[:123_456])
    url = f"{registry.url}/v2/{repo}/blobs/{layouts.sha256(data)}"
    words = [curl.program, "--silent", "--fail", "--continue-at", "-", "--output", str(tmp_path / "blob"), url]
    subprocess.run(words, timeout=COMMAND_S, check=True)

    assert (tmp_path / "blob").read_bytes() == data


def test_a_range_past_the_end_is_refused(curl: Curl, registry: Registry, repo: str) -> None:
    data = layouts.filler(repo, 1000)
    registry.put_blob(repo, data, layouts.sha256(data))
    refused = curl("GET", f"/v2/{repo}/blobs/{layouts.sha256(data)}", "--range", "1000-2000")

    assert (refused.status, refused.headers["Content-Range"]) == (416, "bytes */1000")


def test_a_blob_is_mounted_from_another_repository(curl: Curl, registry: Registry, repo: str) -> None:
    data = layouts.filler(repo, 10_000)
    digest = layouts.sha256(data)
    registry.put_blob(f"{repo}/from", data, digest)
    mounted = curl("POST", f"/v2/{repo}/to/blobs/uploads/?mount={digest}&from={repo}/from", body=b"")

    assert (mounted.status, mounted.digest) == (201, digest)
    assert curl("GET", mounted.headers["Location"]).body == data


def test_a_blob_deleted_here_stays_there(curl: Curl, registry: Registry, repo: str) -> None:
    data = layouts.filler(repo, 10_000)
    digest = layouts.sha256(data)
    for side in ("here", "there"):
        registry.put_blob(f"{repo}/{side}", data, digest)
    assert curl("DELETE", f"/v2/{repo}/here/blobs/{digest}").status == 202

    assert curl("HEAD", f"/v2/{repo}/here/blobs/{digest}").status == 404
    assert curl("HEAD", f"/v2/{repo}/there/blobs/{digest}").status == 200


def test_a_manifest_is_found_whatever_is_accepted(curl: Curl, registry: Registry, repo: str) -> None:
    """curl sends `Accept: */*` unless told otherwise, and a person debugging a registry does not tell it."""
    config = registry.put_blob(repo, b"{}", layouts.sha256(b"{}"))
    assert config.status == 201
    descriptor = {"mediaType": layouts.EMPTY_JSON, "digest": layouts.sha256(b"{}"), "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": layouts.IMAGE_MANIFEST, "artifactType": "a/b", "config": descriptor}
    data = json.dumps({**manifest, "layers": []}, indent=3).encode()
    kind = ("--header", f"Content-Type: {layouts.IMAGE_MANIFEST}")
    assert curl("PUT", f"/v2/{repo}/manifests/1", *kind, body=data).status == 201

    for flags in ((), ("--header", "Accept:"), ("--header", "Accept: application/*")):
        got = curl("GET", f"/v2/{repo}/manifests/1", *flags)
        assert (got.status, got.body, got.headers["Content-Type"]) == (200, data, layouts.IMAGE_MANIFEST)


def test_the_address_of_the_registry_greets(curl: Curl) -> None:
    greeting = curl("GET", "/v2/")

    assert (greeting.status, greeting.headers["Docker-Distribution-Api-Version"]) == (200, "registry/2.0")
