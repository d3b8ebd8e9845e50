"""Ports of 127.0.0.1: a free one, and what listens on one."""

import socket


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Listening:
    """What listens on `port` of 127.0.0.1."""

    host = "127.0.0.1"
    port: int

    @property
    def netloc(self) -> str:
        """`127.0.0.1:PORT`, as clients name a registry."""
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at the end."""
        return f"http://{self.netloc}"
