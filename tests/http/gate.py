"""A door between a client and a server: it lets so many bytes through, then holds everybody until it is opened again.

So a test can kill either side at a moment it has chosen, without guessing how fast anything is.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

PIECE_BYTES = 65_536
WAIT_S = 60


class Gate:
    """The door. Only what goes to the server counts."""

    def __init__(self, upstream: tuple[str, int], port: int) -> None:
        self.port = port
        self.passed_bytes = 0
        self._upstream = upstream
        self._allowed_bytes = 0
        self._held = 0
        self._turn = threading.Condition()

    @property
    def netloc(self) -> str:
        """What clients take for the server."""
        return f"127.0.0.1:{self.port}"

    def allow(self, more_bytes: int) -> None:
        """Let so many more through."""
        with self._turn:
            self._allowed_bytes = self.passed_bytes + more_bytes
            self._turn.notify_all()

    def wait_until_it_holds(self) -> None:
        """Return when everything that was allowed has passed and somebody waits for more."""
        with self._turn:
            held = self._turn.wait_for(lambda: self._held and self.passed_bytes >= self._allowed_bytes, WAIT_S)
        assert held, f"after {self.passed_bytes} bytes nobody wanted to send more"

    def serve(self, listener: socket.socket) -> None:
        """Pass on connections until the listener is shut down."""
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection(self._upstream)
                except OSError:
                    client.close()
                    continue
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                if counted:
                    self._pass(len(piece))
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()

    def _pass(self, count_bytes: int) -> None:
        with self._turn:
            self._held += 1
            self._turn.notify_all()
            self._turn.wait_for(lambda: self.passed_bytes < self._allowed_bytes)
            self._held -= 1
            self.passed_bytes += count_bytes
            self._turn.notify_all()


@contextlib.contextmanager
def gate(upstream: str) -> Iterator[Gate]:
    """A closed door before HOST:PORT, for the length of the block."""
    host, _, port = upstream.partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Gate((host, int(port)), listener.getsockname()[1])
        thread = threading.Thread(target=made.serve, args=(listener,))
        thread.start()
        try:
            yield made
        finally:
            made.allow(1 << 40)
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
