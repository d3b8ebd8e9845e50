"""A client that sends parts wherever it is told to: to the store itself, or through the registry."""

import hashlib
import http.client
import json
from urllib.parse import urlsplit

from tests.faults.client import TIMEOUT_S
from tests.faults.hold import Hold


def store_put(hold: Hold, upload_id: str, number: int, part: bytes, announced: bool) -> str:
    """Ask for a part's URL and send it there, its hash announced or not; the part's ETag, without quotes."""
    sha256 = hashlib.sha256(part).hexdigest() if announced else None
    said = json.loads(hold.post("/part-presigned-url", upload_id=upload_id, part_number=number, sha256=sha256).body)
    split = urlsplit(said["url"])
    assert split.hostname is not None
    connection = http.client.HTTPConnection(split.hostname, split.port, timeout=TIMEOUT_S)
    try:
        connection.request(said["method"], f"{split.path}?{split.query}", part, said.get("headers") or {})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)
        etag: str = answer.headers["ETag"]
        return etag.strip('"')
    finally:
        connection.close()
