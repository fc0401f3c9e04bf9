"""HTTP to the model servers of this machine."""

from __future__ import annotations

import http.client
import os
import queue
from collections.abc import Mapping
from contextlib import closing
from typing import NamedTuple

Address = tuple[str, int]
PING_TIMEOUT_S = 0.2


class Answer(NamedTuple):
    """A response, read to its end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Connections:
    """Requests over connections that are kept. For several threads at once, and for a forked child."""

    def __init__(self) -> None:
        self._idle: dict[Address, queue.SimpleQueue[http.client.HTTPConnection]] = {}
        self._process = os.getpid()

    def exchange(
        self,
        address: Address,
        method: str,
        path: str,
        *,
        timeout_s: float,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask and wait for the answer. A connection that was closed while it was idle is opened anew.

        Raises TimeoutError when nothing comes for timeout_s, another OSError or HTTPException when the server is not
        there or breaks off.
        """
        if self._process != os.getpid():
            # After a fork: two processes on one connection would get each other's answers.
            self._idle, self._process = {}, os.getpid()
        idle = self._idle.setdefault(address, queue.SimpleQueue())
        while True:
            try:
                connection, fresh = idle.get_nowait(), False
            except queue.Empty:
                connection, fresh = http.client.HTTPConnection(*address), True
            connection.timeout = timeout_s  # of the next socket; one that is open already has the last request's
            if connection.sock is not None:
                connection.sock.settimeout(timeout_s)
            try:
                connection.request(method, path, body, dict(headers or {}))
                response = connection.getresponse()
                answer = Answer(response.status, response.headers, response.read())
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if fresh or isinstance(error, TimeoutError):
                    raise
                continue
            except BaseException:
                connection.close()
                raise
            if response.will_close:
                connection.close()
            else:
                idle.put(connection)
            return answer

    def close(self) -> None:
        """Close what is idle; the connections can be used again."""
        for idle in self._idle.values():
            while not idle.empty():
                idle.get().close()
        self._idle = {}


def answers(address: Address, timeout_s: float = PING_TIMEOUT_S) -> bool:
    """Whether the server at `address` answers /ping with 200. One that is still loading has the time-out to say so."""
    with closing(http.client.HTTPConnection(*address, timeout=timeout_s)) as connection:
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
