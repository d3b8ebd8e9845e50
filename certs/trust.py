"""Whom a client of ours trusts: the TLS context made from a CA file, the machine's own list, or nothing at all."""

import ssl
from pathlib import Path


class CaFileUnusable(Exception):
    """The file holds no certificate that could be trusted; the message is one line."""


def client_context(ca_file: Path | None = None, *, insecure: bool = False) -> ssl.SSLContext:
    """How to talk TLS to a registry: certificates must be signed by the machine's authorities, or one in `ca_file`.

    `insecure` takes whatever the other side shows: then anybody on the way can listen who wants to.

    Raises:
        CaFileUnusable: `ca_file` cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror if error.filename or not isinstance(error, ssl.SSLError) else "no certificate in it"
            raise CaFileUnusable(f"{ca_file} cannot be used as a CA file: {reason}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
