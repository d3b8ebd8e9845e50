"""Which path leads where, in which protocol, and that every endpoint has its row."""

import pytest

from handlers.paths import HOLD_PATHS, Endpoint, Face, face_of, split
from handlers.routes import ROUTES, route
from model.errors import PathUnknown, Unsupported


@pytest.mark.parametrize(
    ("path", "endpoint", "repository", "arguments"),
    [
        ("/v2/", Endpoint.PING, "", ()),
        ("/v2", Endpoint.PING, "", ()),
        ("/v2/_catalog", Endpoint.CATALOG, "", ()),
        ("/v2/a/blobs/blobs/x", Endpoint.BLOB, "a/blobs", ("x",)),
        ("/v2/a/blobs/uploads/", Endpoint.UPLOADS, "a", ()),
        ("/v2/a/blobs/uploads", Endpoint.UPLOADS, "a", ()),
        ("/v2/a/blobs/uploads/i", Endpoint.UPLOAD, "a", ("i",)),
        ("/v2/a/tags/list/tags/list", Endpoint.TAGS, "a/tags/list", ()),
        ("/v2/move/manifests/1", Endpoint.MANIFEST, "move", ("1",)),
        ("/v2/signed/referrers/d", Endpoint.REFERRERS, "signed", ("d",)),
        ("/multipart-parts/i/7", Endpoint.HOLD_PART, "", ("i", "7")),
        ("/multipart-parts/i", Endpoint.HOLD_PARTS, "", ("i",)),
        ("/signed/blobs/sha256:ab", Endpoint.SIGNED_BLOB, "", ("sha256:ab",)),
        ("/signed/uploads/temp-1", Endpoint.SIGNED_UPLOAD, "", ("temp-1",)),
        *[(path, endpoint, "", ()) for path, endpoint in HOLD_PATHS.items()],
    ],
)
def test_a_path_leads_to_its_endpoint(
    path: str, endpoint: Endpoint, repository: str, arguments: tuple[str, ...]
) -> None:
    """H010, H014, H018, H025, H028, H030-H033: the old names; those of today are below /xrpc/."""
    assert split(path) == (endpoint, repository, arguments)


@pytest.mark.parametrize(
    ("path", "face"),
    [
        ("/", Face.OCI),
        ("/v2", Face.OCI),
        ("/v2/x", Face.OCI),
        ("/move/", Face.OCI),
        ("/nothing", Face.OCI),
        ("/xrpc/", Face.HOLD),
        ("/xrpc/io.atcr.hold.nothing", Face.HOLD),
        ("/multipart-parts/", Face.HOLD),
        ("/multipart-parts//1", Face.HOLD),
        ("/multipart-parts/i/", Face.HOLD),
        ("/multipart-parts/i/1/2", Face.HOLD),
        ("/signed/", Face.SIGNED),
        ("/signed/blobs/", Face.SIGNED),
        ("/signed/blobs/a/b", Face.SIGNED),
        ("/signed/manifests/x", Face.SIGNED),
        ("/signed", Face.OCI),
        ("/Move", Face.OCI),
    ],
)
def test_where_nothing_lives_the_answer_is_in_the_words_of_the_neighbours(path: str, face: Face) -> None:
    assert face_of(path) is face
    if path != "/v2":
        with pytest.raises(PathUnknown):
            split(path)


def test_every_endpoint_has_a_row_and_head_goes_where_get_does() -> None:
    assert set(ROUTES) == set(Endpoint)
    for rows in ROUTES.values():
        assert rows
        assert ("GET" in rows) == ("HEAD" in rows)


@pytest.mark.parametrize("endpoint", Endpoint)
def test_a_wrong_method_is_told_the_right_ones(endpoint: Endpoint) -> None:
    with pytest.raises(Unsupported) as refused:
        route(endpoint, "BREW", deleting=True)
    assert refused.value.detail["allowed"] == sorted(ROUTES[endpoint])
