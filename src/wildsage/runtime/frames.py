"""Frames between the front and a worker: request bodies one way, answers the other, over a Unix stream socket.

A batch is a head and its requests, written at once; a worker answers each in the order in which they came, so a frame
needs no number. A notice is an answer whose status is below 100; the first frame of a worker is one. A request that
takes long is put off by a notice in the place of its answer, and its answer comes after another notice.
"""

from __future__ import annotations

from collections.abc import Iterable
from select import select
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from socket import socket

BATCH = Struct("<II")  # requests, bytes that follow this head
REQUEST = Struct("<HHI")  # bytes of Content-Type, Accept and body
ANSWER = Struct("<HHI")  # status, bytes of content type and body

READY = 1  # notice: the model is loaded, send requests; the body is the process id
FAILED = 2  # notice: the model cannot be loaded; the body says why
LATER = 3  # notice: the request whose answer would come here is put off, and others are taken meanwhile
NOW = 4  # notice: the next answer is that of the request that was put off first

READ_BYTES = 256 * 1024
LARGEST_ANSWER = 512 * 1024 * 1024  # bytes of a body that a worker makes, and that the front holds in all


class Asked(NamedTuple):
    """One request as a worker sees it. The two headers are as the client sent them, empty if it did not."""

    content_type: str
    accept: str
    body: bytes


def batch(requests: Iterable[tuple[bytes, bytes, bytes]]) -> list[bytes]:
    """The pieces of one batch frame, for writelines; each request is (Content-Type, Accept, body)."""
    pieces = [b""]
    count = 0
    for content_type, accept, body in requests:
        pieces += (REQUEST.pack(len(content_type), len(accept), len(body)), content_type, accept, body)
        count += 1
    pieces[0] = BATCH.pack(count, sum(map(len, pieces)))
    return pieces


def answer(status: int, content_type: bytes, body: bytes) -> bytes:
    """One answer frame."""
    return ANSWER.pack(status, len(content_type), len(body)) + content_type + body


class Inbox:
    """The batches that arrive at a worker; blocks."""

    def __init__(self, link: socket) -> None:
        self._link = link
        self._rest = b""

    def waits(self) -> bool:
        """Whether something has come that next() would read."""
        return bool(self._rest) or bool(select([self._link], [], [], 0)[0])

    def next(self) -> list[Asked] | None:
        """The requests of the next batch, or None when the front is gone."""
        data = self._rest
        while len(data) < BATCH.size:
            more = self._link.recv(READ_BYTES)
            if not more:
                return None
            data += more
        count, size = BATCH.unpack_from(data)
        end = BATCH.size + size
        if len(data) < end:
            whole = bytearray(end)
            whole[: len(data)] = data
            room, filled = memoryview(whole), len(data)
            while filled < end:
                received = self._link.recv_into(room[filled:])
                if not received:
                    return None
                filled += received
            data = bytes(whole)
        self._rest = data[end:]
        requests = []
        at = BATCH.size
        for _ in range(count):
            type_size, accept_size, body_size = REQUEST.unpack_from(data, at)
            at += REQUEST.size
            accept_at = at + type_size
            body_at = accept_at + accept_size
            content_type = data[at:accept_at].decode("latin-1")
            accept = data[accept_at:body_at].decode("latin-1")
            at = body_at + body_size
            requests.append(Asked(content_type, accept, data[body_at:at]))
        return requests
