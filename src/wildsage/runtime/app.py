"""The routes of the container contract: /ping, /invocations and /execution-parameters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wildsage.runtime.dispatcher import Dispatcher
    from wildsage.runtime.front import Exchange

_METHODS = {b"/ping": b"GET", b"/invocations": b"POST", b"/execution-parameters": b"GET"}
_PATHS = ", ".join(path.decode() for path in _METHODS)


class App:
    """Answers exchanges: what concerns the model goes to the dispatcher, the rest is answered here."""

    def __init__(self, dispatcher: Dispatcher, *, workers: int, max_body_bytes: int) -> None:
        self._dispatcher = dispatcher
        self._parameters = json.dumps(
            {
                "MaxConcurrentTransforms": workers,
                "BatchStrategy": "MULTI_RECORD",
                "MaxPayloadInMB": max(1, max_body_bytes >> 20),
            }
        ).encode()
        self.draining = False

    def refusal(self, method: bytes, path: bytes) -> tuple[int, str] | None:
        """Why no request to this method and path can be answered, known before its body has come."""
        allowed = _METHODS.get(path)
        if allowed is None:
            return 404, f'there is no path "{path[:100].decode("latin-1")}"; there are {_PATHS}'
        if method != allowed:
            return 405, f"{path.decode()} takes {allowed.decode()}, not {method[:20].decode('latin-1')}"
        return None

    def allowed(self, path: bytes) -> bytes:
        """The methods that a path takes, for the Allow header; empty for a path that there is not."""
        return _METHODS.get(path, b"")

    def handle(self, exchange: Exchange, path: bytes) -> None:
        """Answer a whole request, now or later."""
        if path == b"/invocations":
            self._dispatcher.submit(exchange)
        elif path == b"/ping":
            if self.draining:
                exchange.refused(503, "the server is stopping")
            elif self._dispatcher.ready:
                exchange.answered(200, b"", b"")
            else:
                exchange.refused(503, "the model is being loaded")
        else:
            exchange.answered(200, b"application/json", self._parameters)
