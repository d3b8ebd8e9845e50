"""The body of a request as the client of aiohttp sends it: what is given up leaves nothing that waits to be sent.

A connection that is closed in the middle of a body would first send what it still holds, to a store that may take
nothing any more. Imported when it is needed, as aiohttp is.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from backends.s3.bodies import Piece
from model.errors import StorageFailed


class Outgoing(Payload):
    """Pieces that come one after the other, once."""

    def __init__(self, pieces: AsyncGenerator[Piece, None]) -> None:
        super().__init__(pieces)
        self._pieces = pieces
        self._transport: asyncio.WriteTransport | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Never: a body is not held whole."""
        raise TypeError("a body is sent in pieces")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it; the connection is broken off when it does not go out whole for a reason of ours."""
        self._transport = writer.transport
        self._consumed = True  # else the client of aiohttp would send it again by itself, with nothing left of it
        try:
            async with aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    await writer.write(piece)
        except (asyncio.CancelledError, StorageFailed):
            self.abort()
            raise

    def abort(self) -> None:
        """Nobody waits for the answer: drop the connection with what waits there to be sent."""
        if self._transport is not None:
            self._transport.abort()
