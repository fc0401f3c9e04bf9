"""A closed-loop HTTP client on epoll: one process, many kept connections, about 10 us of CPU a request.

Each connection sends its next request as soon as the last is answered. Nothing is tried again: a request that was sent
and not answered with 200 is lost.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Report:
    """What a run saw. latencies_s: of the answered requests, in order of their answers."""

    seconds: float
    latencies_s: list[float] = field(repr=False)
    lost: list[str]

    @property
    def requests_a_second(self) -> float:
        return len(self.latencies_s) / self.seconds

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


def post(path: str, document: object, content_type: str = "application/json") -> bytes:
    """The bytes of one request."""
    body = json.dumps(document).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class _Client:
    __slots__ = ("answer", "link", "sent")

    def __init__(self, address: tuple[str, int]) -> None:
        self.link = socket.create_connection(address)
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.link.setblocking(False)
        self.answer = b""
        self.sent = 0.0


def _whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    at = answer.find(b"ontent-Length: ", 0, end)
    if at < 0:
        at = answer.find(b"ontent-length: ", 0, end)
    if at < 0:
        return answer.endswith(b"0\r\n\r\n")  # chunked
    return len(answer) >= end + 4 + int(answer[at + 15 : answer.find(b"\r", at)])


def run(
    address: tuple[str, int],
    requests: Sequence[bytes],
    *,
    connections: int = 32,
    count: int = 10_000,
    seconds: float = 60.0,
    give_up_s: float = 30.0,
) -> Report:
    """Send `count` requests, those given in turn, or as many as fit in `seconds`; wait give_up_s for any answer."""
    poll = select.epoll()
    clients: dict[int, _Client] = {}
    latencies: list[float] = []
    lost: list[str] = []
    asked = 0

    def send(client: _Client) -> None:
        nonlocal asked
        request = requests[asked % len(requests)]
        asked += 1
        client.sent = time.perf_counter()
        sent = client.link.send(request)
        while sent < len(request):
            select.select([], [client.link], [])
            sent += client.link.send(request[sent:])

    def connect() -> None:
        client = _Client(address)
        clients[client.link.fileno()] = client
        poll.register(client.link, select.EPOLLIN)
        send(client)

    def lose(client: _Client, why: str) -> None:
        lost.append(why)
        drop(client)
        if asked < count:
            connect()

    def drop(client: _Client) -> None:
        del clients[client.link.fileno()]
        client.link.close()

    begun = time.perf_counter()
    end = begun + seconds
    for _ in range(min(connections, count)):
        connect()
    while clients:
        events = poll.poll(give_up_s)
        if not events:
            lost += ["no answer"] * len(clients)
            break
        for descriptor, _ in events:
            client = clients[descriptor]
            try:
                data = client.link.recv(262144)
            except OSError as error:
                lose(client, type(error).__name__)
                continue
            if not data:
                lose(client, "connection closed")
                continue
            client.answer += data
            if not _whole(client.answer):
                continue
            now = time.perf_counter()
            if client.answer[9:12] == b"200":
                latencies.append(now - client.sent)
            else:
                lost.append(client.answer[9:12].decode())
            client.answer = b""
            if asked >= count or now >= end:
                drop(client)
                continue
            try:
                send(client)
            except OSError as error:
                lose(client, type(error).__name__)
    seconds_taken = time.perf_counter() - begun
    for client in list(clients.values()):
        drop(client)
    poll.close()
    return Report(seconds_taken, latencies, lost)
