from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from wildsage.platform.servers import Address, Connections, answers


class Handler(BaseHTTPRequestHandler):
    """Answers with the number of its connection; /wait never does, /close says so and closes, /drop closes unsaid."""

    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.opened += 1
        self.number = self.server.opened

    def do_GET(self) -> None:
        if self.path == "/wait":
            self.server.over.wait(60)
        body = str(self.number).encode()
        self.send_response(503 if self.path == "/ping" else 200)
        self.send_header("Content-Length", str(len(body)))
        if self.path == "/close":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path in ("/close", "/drop")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.opened, found.over = 0, threading.Event()
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.over.set()
        found.shutdown()
        thread.join()


@pytest.fixture
def connections() -> Iterator[Connections]:
    found = Connections()
    yield found
    found.close()


def number(connections: Connections, server: ThreadingHTTPServer, path: str = "/", timeout_s: float = 30.0) -> int:
    """The number of the connection that a request went over."""
    return int(connections.exchange(server.server_address[:2], "GET", path, timeout_s=timeout_s).body)


def test_a_connection_is_kept_until_one_side_ends_it(server: ThreadingHTTPServer, connections: Connections) -> None:
    assert [number(connections, server, path) for path in ("/", "/close", "/", "/drop", "/")] == [1, 1, 2, 2, 3]
    connections.close()
    assert number(connections, server) == 4


def test_each_request_has_its_own_time(server: ThreadingHTTPServer, connections: Connections) -> None:
    """Also on a kept connection, whose socket has the time of the request before."""
    number(connections, server, timeout_s=60.0)
    with pytest.raises(TimeoutError):
        number(connections, server, "/wait", timeout_s=0.05)
    assert server.opened == 1  # not asked again
    assert number(connections, server) == 2


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(server: ThreadingHTTPServer, connections: Connections) -> None:
    assert number(connections, server) == 1
    child = os.fork()
    if child == 0:
        try:
            os._exit(number(connections, server))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    assert number(connections, server) == 1


def test_nobody_there_is_told(server: ThreadingHTTPServer, connections: Connections) -> None:
    address: Address = server.server_address[:2]
    assert not answers(address)
    server.server_close()
    server.shutdown()
    assert not answers(address)
    with pytest.raises(ConnectionRefusedError):
        connections.exchange(address, "POST", "/", timeout_s=30.0, body=b"x", headers={"Content-Type": "text/csv"})
