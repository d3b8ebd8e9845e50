"""The side of the attacker: bytes out, one answer in, and what every answer has to be."""

import http.client
import io
import json
import re
import socket
from dataclasses import dataclass
from email.message import Message

HOST = "127.0.0.1"
PATIENCE_S = 10.0
"""Longer than any answer to these requests may take; above it the server hangs."""

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Reply:
    """The first final response to what was sent, and everything that came behind it."""

    status: int
    headers: Message
    body: bytes
    beyond: bytes


def exchange(port: int, sent: bytes, method: str = "GET", *, hang_up: bool = False) -> Reply | None:
    """Send it and read until the server ends the connection; None when there was no answer.

    With `hang_up` our side ends right behind the last byte.
    """
    with socket.create_connection((HOST, port), timeout=PATIENCE_S) as wire:
        try:
            wire.sendall(sent)
            if hang_up:
                wire.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before its end: the answer is there
        came = bytearray()
        try:
            while not came_whole(came, method) and (piece := wire.recv(65_536)):
                came += piece
            if came_whole(came, method):
                wire.settimeout(2.0)
                while piece := wire.recv(65_536):
                    came += piece
        except ConnectionResetError:
            pass
        except TimeoutError:
            assert came_whole(came, method), f"the server hangs; so far it said {bytes(came[:300])!r}"
    return parsed(bytes(came), method)


def came_whole(came: bytes | bytearray, method: str) -> bool:
    """Whether a final response is in what came."""
    reply = parsed(bytes(came), method, strict=False)
    return reply is not None


def parsed(came: bytes, method: str, *, strict: bool = True) -> Reply | None:
    """The first final response in what came; None when there is none (yet)."""
    head, end, rest = came.partition(b"\r\n\r\n")
    if not end:
        assert not (strict and came), f"half an answer: {came[:300]!r}"
        return None
    status_line, _, fields = head.partition(b"\r\n")
    status = int(status_line.split()[1])
    if status < 200:
        return parsed(rest, method, strict=strict)
    headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
    length = 0 if method == "HEAD" or status in (204, 304) else int(headers["Content-Length"])
    if len(rest) < length:
        assert not strict, "the body of the answer is cut"
        return None
    return Reply(status, headers, rest[:length], rest[length:])


def check_reply(reply: Reply, method: str, code: str = "") -> None:
    """What holds for every answer, however hostile the question."""
    assert reply.beyond == b"", f"something was answered behind it: {reply.beyond[:200]!r}"
    assert reply.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert REQUEST_ID.fullmatch(reply.headers["X-Request-Id"])
    assert reply.headers["X-Injected"] is None
    assert all(len(reply.headers.get_all(name) or [""]) == 1 for name in ("Content-Type", "X-Request-Id"))
    assert "aiohttp" not in reply.headers.get("Server", "")
    if reply.status < 400:
        return
    assert reply.status < 500 or reply.status in (505, 507), (reply.status, reply.body)
    if method == "HEAD":
        assert reply.body == b""
        return
    assert reply.headers["Content-Type"] == "application/json"
    errors = json.loads(reply.body)["errors"]
    assert errors
    assert all(re.fullmatch("[A-Z_]+", error["code"]) and error["message"] for error in errors)
    assert len(reply.body) < 4096, "the answer repeats too much of the question"
    assert not code or errors[0]["code"] == code, errors
    if reply.status == 416 and "BLOB_UPLOAD_INVALID" in code:
        assert reply.headers["Location"]
        assert reply.headers["Range"] == "0--1"
    if reply.status == 405 and method != "CONNECT":
        assert reply.headers["Allow"]
