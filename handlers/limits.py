"""What one connection, and all of them together, may take from this server.

Each limit has a clear end: an answer with a 4xx or 503, then the connection is closed. None of them depends on the size
of a blob.
"""

from dataclasses import dataclass

from model.units import KIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what clients may make us hold, and for how long."""

    line_bytes: int = 8 * KIB
    """The request line; 414 above. The same as nginx and Apache."""
    head_bytes: int = 64 * KIB
    """The request line and all headers; 431 above. Bearer tokens with many scopes reach 10 KiB."""
    header_count: int = 128
    """Headers in a request; 431 above."""
    head_timeout_s: float = 20.0
    """From the first byte of a head (of a connection: from its begin) to its end; then 408."""
    keepalive_timeout_s: float = 75.0
    """How long an idle connection is kept for its next request."""
    stall_timeout_s: float = 60.0
    """How long a body may make no progress, coming in or going out."""
    connections: int = 4096
    """Open connections in all; 503 above, unless an idle one of the greediest address can make room."""
    connections_per_peer: int = 2048
    """Open connections of one address; 429 above. Behind a proxy all clients share an address."""
    discard_bytes: int = 64 * MIB
    """How much of a body nobody wants is read, so that its sender sees the answer instead of a reset."""
    whole_bodies_bytes: int = 64 * MIB
    """Bodies that are read into memory, of all connections together; others wait."""
    discard_s: float = 5.0
    """For how long that is done."""


@dataclass(slots=True)
class Traffic:
    """What went through the server since its start; for the metrics."""

    received_bytes: int = 0
    """Heads and bodies as they came, after TLS."""
    sent_bytes: int = 0
    """Heads and bodies as they left, before TLS."""
    refused_connections: int = 0
    """Connections answered with 429 or 503 because of the caps."""
    protocol_errors: int = 0
    """Requests that were refused before a handler saw them."""
