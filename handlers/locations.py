"""The URLs we hand out: always a path without scheme and host.

A path cannot have the wrong scheme, port or host behind a proxy, and every client resolves it against the URL it just
used (oci.md 2.3 rule 1).
"""


def of_blob(repository: str, digest: object) -> str:
    """Where a blob is fetched."""
    return f"/v2/{repository}/blobs/{digest}"


def of_manifest(repository: str, digest: object) -> str:
    """Where a manifest is fetched, by digest, which never changes its meaning."""
    return f"/v2/{repository}/manifests/{digest}"


def of_upload(repository: str, upload_id: str, offset_bytes: int, *, empty_range: str = "0-0") -> dict[str, str]:
    """The headers that tell where an upload session stands.

    The Location carries the offset, so that a client that lost an answer can go on from what it knows (rules 1, 4).
    Nothing received is `0-0` after POST and PATCH, since Docker refuses anything else there, and `0--1` after GET and
    with 416, since regctl would take `0-0` for one byte (rule 6).
    """
    return {
        "Location": f"/v2/{repository}/blobs/uploads/{upload_id}?_state={offset_bytes}",
        "Range": f"0-{offset_bytes - 1}" if offset_bytes else empty_range,
        "Docker-Upload-UUID": upload_id,
    }
