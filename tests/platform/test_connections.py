"""Connections to a server that the test plays."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from wildsage.platform.connections import Address, Connections

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request of each connection; counts connections; can hang, close, or talk nonsense instead."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listener.getsockname()[:2]
        self.accepted = 0
        self.answer = ANSWER
        self.silent = False
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            self._connections.append(connection)
            self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        while connection.recv(4096):
            if not self.silent:
                connection.sendall(self.answer)

    def hang_up(self) -> None:
        for connection in self._connections:
            with suppress(OSError):  # the client has closed it
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with closing(Server()) as found:
        yield found


@pytest.fixture
def connections(server: Server) -> Iterator[Connections]:
    with closing(Connections(server.address)) as found:
        yield found


def ask(connections: Connections, timeout_s: float = 30.0) -> bytes:
    response, body = connections.exchange("POST", "/invocations", b"x", {"Accept": "*/*"}, timeout_s=timeout_s)
    assert response.status == 200
    return body


def test_a_connection_is_kept_and_made_anew_when_it_was_closed(server: Server, connections: Connections) -> None:
    assert [ask(connections) for _ in range(3)] == [b"ok"] * 3
    assert server.accepted == 1
    server.hang_up()
    assert ask(connections) == b"ok"
    assert server.accepted == 2


def test_each_request_has_its_own_time_out(server: Server, connections: Connections) -> None:
    ask(connections, timeout_s=30.0)
    server.silent = True
    with pytest.raises(TimeoutError):
        ask(connections, timeout_s=0.05)
    server.silent = False
    assert ask(connections) == b"ok"


def test_what_does_not_answer_is_an_oserror(server: Server, connections: Connections) -> None:
    server.answer = b"what?\r\n\r\n"
    with pytest.raises(ConnectionError, match="BadStatusLine"):
        ask(connections)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()[:2]
    with pytest.raises(OSError, match="refused"):
        ask(Connections(address))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_takes_connections_of_its_own(server: Server, connections: Connections) -> None:
    ask(connections)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if ask(connections) == b"ok" else 1
            connections.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert server.accepted == 2
    assert ask(connections) == b"ok"
    assert server.accepted == 2
