"""GET /v2/, and what every answer has (oci.md 1.0, end-1)."""

import pytest

from tests.http.oci.serving import Serving


@pytest.mark.parametrize("path", ["/v2/", "/v2", "/v2/?ns=docker.io"])
async def test_the_ping_is_answered_with_an_empty_document(oci: Serving, path: str) -> None:
    answer = await oci.ask("GET", path)
    assert answer.status == 200
    assert answer.body == b"{}"
    assert answer.headers["Content-Type"] == "application/json"


async def test_the_ping_can_be_a_head(oci: Serving) -> None:
    answer = await oci.ask("HEAD", "/v2/")
    assert (answer.status, answer.headers["Content-Length"]) == (200, "2")
    assert (await oci.ask("GET", "/v2/")).body == b"{}"
