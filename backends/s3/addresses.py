"""The address that clients know a store by: what it is, and whether it can mean anything to them (M11, G07).

A signature names the host, so a URL for a client is signed for the client's name of the store; nothing has to be asked
for that. Credentials, region and bucket are the same as for our own requests.
"""

import ipaddress
from urllib.parse import urlsplit

from backends.s3.settings import StoreSettings


def external_url(settings: StoreSettings) -> str:
    """The base URL of what is handed out; our own one when nothing else was said."""
    return settings.external_endpoint or settings.base_url


def is_loopback(url: str) -> bool:
    """Whether a base URL names this machine only, by `localhost` or by a loopback address."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def barred(settings: StoreSettings) -> str:
    """Why clients are not sent to the store whatever the store can do; empty when nothing of ours forbids it.

    The switch (H044, H045), and an address that means another machine to every client than to us.
    """
    if not settings.direct:
        return "DISABLE_PRESIGNED_URLS is set"
    url = external_url(settings)
    if settings.listens_beyond and is_loopback(url) and not settings.external_endpoint:
        return (
            f"{url} means this machine only, and clients come from others; "
            "set S3_EXTERNAL_ENDPOINT to the address that they have for the store"
        )
    return ""
