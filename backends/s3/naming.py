"""Which store that is, from what its answers tell about it (G12): its own word where it gives one, else its habits."""

import json
import re
from collections.abc import Mapping
from typing import Final

SWIFT: Final = "OpenStack Swift"
_FRONTS: Final = ("nginx", "apache", "caddy", "cloudflare", "envoy", "haproxy", "traefik", "varnish", "openresty")
"""What only stands before a store."""
_HABITS: Final[Mapping[str, str]] = {
    "x-openstack-request-id": SWIFT,
    "x-trans-id": SWIFT,
    "x-minio-deployment-id": "MinIO",
    "x-seaweedfs-version": "SeaweedFS",
    "x-amz-id-2": "an S3 store like that of AWS",
}
"""Headers that only such a store sends, in lower case."""
_CEPHS_ID: Final = re.compile(r"tx[0-9a-f]{21}-[0-9a-f]{10}-[0-9a-f]+-.+", re.ASCII)
"""How Ceph's gateway numbers its answers: Swift's way, and the zone behind it."""
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")


def name_of(headers: Mapping[str, str]) -> str:
    """Name and perhaps version, as far as the headers (names in lower case) tell; empty when they do not."""
    said = _UNPRINTABLE.sub("", headers.get("server", ""))[:100].strip()
    habit = next((name for header, name in _HABITS.items() if header in headers), "")
    if _CEPHS_ID.fullmatch(headers.get("x-amz-request-id", "")):
        habit = "Ceph RGW"
    if said and not said.lower().startswith(_FRONTS):
        return said
    return f"{habit}, behind {said}" if habit and said else habit or said


def swift_version(body: bytes) -> str:
    """The version in the answer of Swift's `/info`; empty when there is none."""
    try:
        version = json.loads(body)["swift"]["version"]
    except (ValueError, KeyError, TypeError):
        return ""
    return _UNPRINTABLE.sub("", version)[:40] if isinstance(version, str) else ""
