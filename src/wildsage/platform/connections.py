"""HTTP connections to one server of this machine, kept open from one request to the next."""

from __future__ import annotations

import http.client
import os
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType

Address = tuple[str, int]


class Connections:
    """Asks the server at one address. Safe to use from several threads, and in a forked child."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._process = os.getpid()

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] = MappingProxyType({}),
        *,
        timeout_s: float,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """The response, read to its end, and its body.

        An idle connection that the server has closed meanwhile is passed over. Raises TimeoutError if no byte comes for
        timeout_s, OSError if nothing answers.
        """
        if self._process != os.getpid():
            self.close()  # the parent goes on with the connections; here only our copies of the sockets close
            self._process = os.getpid()
        while True:
            try:
                connection, fresh = self._idle.pop(), False
            except IndexError:
                connection, fresh = http.client.HTTPConnection(*self._address), True
            connection.timeout = timeout_s
            if connection.sock is not None:  # it has the time-out of the request before
                connection.sock.settimeout(timeout_s)
            try:
                connection.request(method, path, body, dict(headers))
                response = connection.getresponse()
                content = response.read()
            except TimeoutError:
                connection.close()
                raise
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if not fresh:
                    continue
                if isinstance(error, OSError):
                    raise
                raise ConnectionError(f"{type(error).__name__}: {error}") from error
            except BaseException:
                connection.close()
                raise
            if response.will_close:
                connection.close()
            else:
                self._idle.append(connection)
            return response, content

    def close(self) -> None:
        """Close the idle connections; they are opened anew when asked again."""
        while self._idle:
            self._idle.pop().close()
