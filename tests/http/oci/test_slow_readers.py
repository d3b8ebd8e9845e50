"""Readers that take nothing of a large answer, and what they cost."""

import asyncio
import json
import socket
from contextlib import ExitStack

from model.units import KIB
from tests.http.client import PATIENCE_S
from tests.http.oci.serving import Serving

INDEX = "application/vnd.oci.image.index.v1+json"
READERS = 30


async def test_slow_readers_of_a_large_manifest_cost_little_memory_each(oci: Serving) -> None:
    """What waits in the transports is what the process holds per reader; the kernel's buffers are bounded by it."""
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"padding": "x" * 3_900_000}}
    content = json.dumps(index).encode()
    assert (await oci.put_manifest("slow/readers", "large", content, INDEX)).status == 201
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        readers = [stack.enter_context(socket.socket()) for _ in range(READERS)]
        for reader in readers:
            reader.setblocking(False)
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(reader, (oci.host, oci.port))
            await loop.sock_sendall(reader, b"GET /v2/slow/readers/manifests/large HTTP/1.1\r\nHost: here\r\n\r\n")
        for reader in readers:  # the answer has begun
            assert await asyncio.wait_for(loop.sock_recv(reader, 12), PATIENCE_S) == b"HTTP/1.1 200"
        for _ in range(50):
            assert (await oci.ask("GET", "/v2/")).status == 200
            assert held_bytes(oci) <= READERS * 128 * KIB
    assert (await oci.manifest("slow/readers", "large")).body == content


def held_bytes(oci: Serving) -> int:
    """What the server's side of all connections has written and the kernel has not taken."""
    transports = [each.transport for each in oci.server.connections if each.transport is not None]
    assert len(transports) >= READERS
    return sum(each.get_write_buffer_size() for each in transports)
