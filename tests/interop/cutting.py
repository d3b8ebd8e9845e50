"""A connection that breaks once: a TCP relay in front of the registry that cuts a transfer after so many bytes.

It knows nothing of HTTP but where a request's first lines are, which it keeps, so that a test can see how the client
went on. Cutting means closing both sides in the middle of the flow, as a pulled cable looks to a program.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

PIECE_BYTES = 65_536


class Flow(Enum):
    """Which way the bytes go."""

    UP = "to the registry"
    DOWN = "to the client"


@dataclass
class Relay:
    """The relay; `cuts_left` becomes 0 when it has done its deed."""

    upstream: tuple[str, int]
    flow: Flow
    after_bytes: int
    cuts_left: int = 1
    heads: list[str] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def netloc(self) -> str:
        """What clients take for the registry."""
        return f"127.0.0.1:{self.port}"

    def requests_with(self, words: str) -> list[str]:
        """The heads of all requests seen that hold `words`, whatever their case."""
        return [head for head in self.heads if words.lower() in head.lower()]

    def serve(self, listener: socket.socket) -> None:
        """Relay connections until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self.upstream)
                for pair in ((client, server, Flow.UP), (server, client, Flow.DOWN)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: Flow) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                if way is Flow.UP and (head := _head(piece)):
                    self.heads.append(head)
                passed += len(piece)
                if way is self.flow and passed > self.after_bytes and self._may_cut():
                    break
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def _may_cut(self) -> bool:
        with self.lock:
            self.cuts_left -= 1
            return self.cuts_left >= 0


@contextlib.contextmanager
def relay(upstream: str, flow: Flow, after_bytes: int) -> Iterator[Relay]:
    """A relay to HOST:PORT for the length of the block; it cuts the first transfer that passes `after_bytes`."""
    host, _, port = upstream.partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Relay((host, int(port)), flow, after_bytes, port=listener.getsockname()[1])
        thread = threading.Thread(target=made.serve, args=(listener,))
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _head(piece: bytes) -> str | None:
    """The request's first lines, if `piece` begins with a request."""
    if piece.split(b" ", 1)[0] in {b"GET", b"HEAD", b"POST", b"PATCH", b"PUT", b"DELETE"}:
        return piece.partition(b"\r\n\r\n")[0].decode("latin-1")
    return None
