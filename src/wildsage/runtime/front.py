"""HTTP/1.1 on the client's side: connections, requests, answers in order, and every limit on them.

The parser is llhttp in its strict mode: a request with both Content-Length and Transfer-Encoding, two lengths, a bad
length or a bare line feed is refused and the connection closed, since a proxy before us could read it otherwise
(request smuggling, RFC 9112 section 11.2).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools

from wildsage.runtime import frames
from wildsage.runtime.dispatcher import Job

if TYPE_CHECKING:
    from wildsage.runtime.app import App
    from wildsage.runtime.dispatcher import Counters

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}

DRAIN_IDLE_S = 0.3
RECOUNT_S = 0.01
SMALL_ANSWER = 1024  # bytes; the refusal would not be much smaller


@dataclass(frozen=True)
class HttpLimits:
    """Bounds on what a client may send and for how long it may take."""

    body_bytes: int = 6_291_456  # InvokeEndpoint's limit
    head_bytes: int = 32 * 1024
    url_bytes: int = 8 * 1024
    held_bytes: int = frames.LARGEST_ANSWER  # bodies that are not answered yet, and answers that are not taken yet
    connections: int = 4096
    pipelined: int = 32  # requests of one connection that are not answered yet
    idle_s: float = 75.0  # between requests; the contract's clients keep connections for up to 70 s
    receive_s: float = 30.0  # for a request to come in, beside its body's time
    receive_bytes_s: float = 4096.0  # slowest body
    send_s: float = 60.0  # for a client to take some of its answer
    linger_s: float = 2.0  # a refused client may go on sending so long before it is cut off


class _RefusedError(Exception):
    """Raised in the parser's callbacks: the request is refused and the connection ends."""


class Exchange(Job):
    """One request on a connection, until its answer is written."""

    __slots__ = ("_answer", "_connection", "_size", "close", "head_only", "is_1_0")

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection: Connection | None = connection
        self._answer: bytes | None = None
        self._size = 0
        self.close = False  # end the connection after the answer
        self.head_only = False  # HEAD: an answer without its body
        self.is_1_0 = False

    @property
    def abandoned(self) -> bool:
        return self._connection is None

    def hold(self, size: int) -> None:
        """Count bytes of the body as held until the answer, and those of the answer until it is written."""
        self._size += size
        if self._connection is not None:
            self._connection.front.held_bytes += size

    def release(self) -> None:
        """Count nothing more as held here."""
        if self._connection is not None:
            self._connection.front.held_bytes -= self._size
        self._size = 0

    def abandon(self) -> None:
        """The client is gone."""
        self.release()
        self.body = b""
        self._connection = None

    def answered(self, status: int, content_type: bytes, body: bytes, extra: bytes = b"") -> None:
        connection = self._connection
        if connection is None:
            return
        self.release()
        self.body = b""
        if len(body) > SMALL_ANSWER and not connection.front.has_room(len(body)):
            self._refuse_size(len(body), connection.front.limits.held_bytes)
            return
        if status >= 400:
            connection.front.count(status)
        self.close = self.close or connection.front.draining
        head = connection.front.head(status, content_type)
        if self.close:
            extra += b"Connection: close\r\n"
        elif self.is_1_0:
            extra += b"Connection: keep-alive\r\n"
        length = b"Content-Length: %d\r\n" % len(body)
        if status == HTTPStatus.NO_CONTENT:  # which may not name a length (RFC 9110, 8.6)
            length = b""
        self._answer = b"".join((head, length, extra, b"\r\n", b"" if self.head_only else body))
        self.hold(len(self._answer))  # earlier requests of the connection may not be answered yet
        connection.flush()

    def _refuse_size(self, size: int, limit: int) -> None:
        if size > limit:
            self.refused(500, f"the answer has {size:,} bytes, more than the {limit:,} allowed; ask for less at once")
        else:
            self.refused(503, "clients have not taken answers of too many bytes; try again later")

    def refused(self, status: int, message: str, extra: bytes = b"") -> None:
        body = json.dumps({"message": message}, separators=(",", ":")).encode()
        if status == 503:
            extra += b"Retry-After: 1\r\n"
        self.answered(status, b"application/json", body, extra)

    @property
    def answer(self) -> bytes | None:
        """The whole response, once it is known."""
        return self._answer


class Connection(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_app",
        "_begun",
        "_body",
        "_body_bytes",
        "_chunked",
        "_continue",
        "_ending",
        "_exchanges",
        "_expects",
        "_full",
        "_head_bytes",
        "_head_complete",
        "_hosts",
        "_hung_up",
        "_length",
        "_limits",
        "_message",
        "_options",
        "_parser",
        "_path",
        "_paused",
        "_raw_bytes",
        "_refusal",
        "_sending",
        "_since",
        "_taken",
        "_transport",
        "_unsent",
        "_upgrades",
        "_url",
        "_wrong",
        "front",
    )

    def __init__(self, front: Front) -> None:
        self.front = front
        self._app = front.app
        self._limits = front.limits
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._exchanges: deque[Exchange] = deque()  # not answered yet, in order
        self._ending = False  # nothing more is read as a request
        self._continue: Exchange | None = None  # waits for "100 Continue", once it is first
        self._paused = self._full = self._hung_up = False
        self._since = time.monotonic()  # of the last answer, or of the hanging up
        self._sending = 0  # bytes of answers in the transport, as the front has them in its count
        self._unsent = 0  # bytes that the client had not taken at the last check
        self._taken = 0.0  # when it last took some
        self._begun = 0.0
        self._raw_bytes = 0  # as they came in, of the request that is being received
        self._message: Exchange | None = None
        self._wrong: tuple[int, str] | None = None  # seen in a header; said when the head is complete
        self._refusal: tuple[int, str] | None = None  # by method and path
        self._body: bytes | bytearray = b""
        self._path = b""
        self._reset()

    def _reset(self) -> None:
        """Make ready for the next request."""
        self._url = b""
        self._head_bytes = self._body_bytes = self._hosts = 0
        self._length = -1
        # _options: the head has fields that only some requests have, see on_headers_complete
        self._head_complete = self._chunked = self._expects = self._options = self._upgrades = False
        self._wrong = None

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is no subclass of it
        self.front.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._ending = True
        if self._message is not None:
            self._message.abandon()
            self._message = None
        for exchange in self._exchanges:
            exchange.abandon()
        self._exchanges.clear()
        self._body = b""
        self._transport = None
        self.recount()
        self.front.remove(self)

    def eof_received(self) -> bool:
        # A client may send, close its half, and wait for the answer.
        if self._message is not None or not self._exchanges:
            return False
        self._exchanges[-1].close = True
        self._ending = True
        return True

    def pause_writing(self) -> None:
        self._full = True
        self._throttle()

    def resume_writing(self) -> None:
        self._full = False
        self.recount()
        self._throttle()

    def _throttle(self) -> None:
        """Stop reading from a client that does not take its answers, or has sent too many requests at once."""
        if self._transport is None or self._transport.is_closing() or self._hung_up:
            return
        pause = self._full or len(self._exchanges) >= self._limits.pipelined
        if pause != self._paused:
            self._paused = pause
            if pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        if self._message is None:
            self._begun = time.monotonic()
        self._raw_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # An upgrade may be ignored, but the parser does not go on after it.
            self._end()
        except httptools.HttpParserCallbackError:
            if not self._ending:  # not one of our own refusals
                raise
        except httptools.HttpParserError as error:
            # What follows "Connection: close" is no request, and no error of the one before.
            if not self._ending:
                self._refuse(400, f"the request is not HTTP/1.1: {error}")
        else:
            if not self._head_complete and self._raw_bytes > self._limits.head_bytes * 2:
                self._refuse(431, f"the header is longer than {self._limits.head_bytes:,} bytes")
            elif self._chunked and self._raw_bytes > 16 * self._body_bytes + 2 * self._limits.head_bytes:
                self._refuse(400, "the chunks hold little but their own heads")

    # the parser's side

    def on_message_begin(self) -> None:
        self._reset()
        self._message = Exchange(self)

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > self._limits.url_bytes:
            self._stop(414, f"the address is longer than {self._limits.url_bytes:,} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        self._head_bytes += size + len(value)
        if self._head_bytes > self._limits.head_bytes:
            self._stop(431, f"the header is longer than {self._limits.head_bytes:,} bytes")
        if self._head_complete or self._message is None:
            return  # a trailer
        if size == 12:
            if name.lower() == b"content-type":
                self._message.content_type = value
        elif size == 6:
            if name.lower() == b"accept":
                self._message.accept = self._message.accept + b"," + value if self._message.accept else value
            elif name.lower() == b"expect":
                if value.strip().lower() == b"100-continue":
                    self._expects = self._options = True
                else:
                    self._wrong = 417, f'Expect "{value[:40].decode("latin-1")}" cannot be met'
        elif size == 4:
            if name.lower() == b"host":
                self._hosts += 1
        elif size == 14:
            if name.lower() == b"content-length":
                self._length = int(value)
        elif size == 16:
            if name.lower() == b"content-encoding" and value.strip().lower() != b"identity":
                shown = value[:40].decode("latin-1")
                self._wrong = 415, f'Content-Encoding "{shown}" is not supported; send the body as it is'
        elif size == 10:
            if name.lower() == b"connection":
                self._options = True
        elif size == 17 and name.lower() == b"transfer-encoding":
            self._options = True
            if self._chunked or value.strip().lower() != b"chunked":
                self._wrong = 400, 'the only Transfer-Encoding is "chunked", once'
            self._chunked = True

    def on_headers_complete(self) -> None:
        exchange = self._message
        if exchange is None:
            raise _RefusedError
        self._head_complete = True
        method = self._parser.get_method()
        exchange.head_only = method == b"HEAD"
        if self._options or self._hosts != 1:
            self._check_options(exchange)
        if self._wrong is not None:
            self._stop(*self._wrong)
        path = self._url
        refusal = self._app.refusal(method, path)
        if refusal is not None:
            path = _path(path)
            refusal = self._app.refusal(method, path)
        self._path, self._refusal = path, refusal
        if self._length <= 0 and not self._chunked:
            return
        if self._refusal is not None:
            self._stop(*self._refusal)
        if self._length > self._limits.body_bytes:
            self._stop(413, self._too_large())
        if not self.front.has_room(max(self._length, 0)):
            self._stop(503, "requests of too many bytes are being answered; try again later")
        if self._expects and not exchange.is_1_0:
            self._continue = exchange
            self._flush_continue()

    def _check_options(self, exchange: Exchange) -> None:
        """What depends on the version of HTTP, which most requests need not be asked for."""
        exchange.is_1_0 = self._parser.get_http_version() == "1.0"
        self._upgrades = self._parser.should_upgrade()
        if self._upgrades and (self._length > 0 or self._chunked):
            self._stop(501, "a request with a body cannot change the protocol")
        if exchange.is_1_0:
            if self._chunked:
                self._stop(400, "HTTP/1.0 has no Transfer-Encoding")
        elif self._hosts != 1:
            self._stop(400, f"the request has {self._hosts} Host headers; it must have one")

    def on_body(self, piece: bytes) -> None:
        exchange = self._message
        if exchange is None:
            raise _RefusedError
        size = len(piece)
        self._body_bytes += size
        if self._body_bytes > self._limits.body_bytes:
            self._stop(413, self._too_large())
        exchange.hold(size)
        if not self.front.has_room(0):
            self._stop(503, "requests of too many bytes are being answered; try again later")
        if not self._body:
            self._body = piece
        else:
            if isinstance(self._body, bytes):
                self._body = bytearray(self._body)
            self._body += piece
        self._continue = None  # the client did not wait

    def on_message_complete(self) -> None:
        exchange = self._message
        if exchange is None:
            raise _RefusedError
        exchange.body = bytes(self._body)  # no copy where it came in one piece
        self._body = b""
        self._message = None
        self._continue = None
        self._raw_bytes = 0
        self._head_complete = False
        if self._upgrades or not self._parser.should_keep_alive():
            exchange.close = True
            self._ending = True
        self._exchanges.append(exchange)
        if self._refusal is None:
            self._app.handle(exchange, self._path)
        else:
            exchange.refused(*self._refusal, self._allow())
        if len(self._exchanges) >= self._limits.pipelined:
            self._throttle()

    def _too_large(self) -> str:
        return f"the body is longer than {self._limits.body_bytes:,} bytes"

    def _allow(self) -> bytes:
        allowed = self._app.allowed(self._path)
        return b"Allow: %s\r\n" % allowed if allowed else b""

    def _stop(self, status: int, message: str) -> None:
        """Refuse the request that is being received; leaves the parser."""
        self._refuse(status, message)
        raise _RefusedError

    def _refuse(self, status: int, message: str) -> None:
        """Answer the request that is being received, after those before it, and end the connection."""
        exchange = self._message or Exchange(self)
        exchange.close = True
        self._message = None
        self._continue = None
        self._body = b""
        self._ending = True
        self._exchanges.append(exchange)
        exchange.refused(status, message, self._allow() if status == 405 else b"")

    def _end(self) -> None:
        """Read no more requests; the connection ends after the last answer."""
        self._ending = True
        if self._exchanges:
            self._exchanges[-1].close = True
        elif self._transport is not None:
            self._hang_up()

    # answers

    def flush(self) -> None:
        """Write the answers that are known, up to the first that is not."""
        exchanges, transport = self._exchanges, self._transport
        if transport is None:
            return
        while exchanges and (answer := exchanges[0].answer) is not None:
            exchange = exchanges.popleft()
            exchange.release()
            transport.write(answer)
            self.recount()
            if exchange.close:
                self._ending = True
                for later in exchanges:
                    later.abandon()
                exchanges.clear()
                self._hang_up()
                return
        if not exchanges:
            self._since = time.monotonic()
        if self._continue is not None:
            self._flush_continue()
        if self._paused:
            self._throttle()

    def recount(self) -> None:
        """Let the front's count hold what of the answers waits in the transport now; most of it does not for long."""
        size = 0 if self._transport is None else self._transport.get_write_buffer_size()
        self.front.held_bytes += size - self._sending
        self._sending = size

    def _flush_continue(self) -> None:
        if not self._exchanges and self._transport is not None:
            self._continue = None
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hang_up(self) -> None:
        """Close after what is written has left.

        Not at once where the client may still be sending: the kernel answers what comes to a closed socket with a
        reset, and a reset makes the client's kernel drop the answer unread.
        """
        transport = self._transport
        if transport is None or transport.is_closing() or self._hung_up:
            return
        self._hung_up = True
        transport.write_eof()
        if self._paused:
            self._paused = False
            transport.resume_reading()
        self._since = time.monotonic()

    # time

    def check(self, now: float, idle_s: float) -> None:
        """Close the connection if its client takes too long, or has asked nothing for idle_s."""
        transport, limits = self._transport, self._limits
        if transport is None:
            return
        self.recount()
        unsent = self._sending
        if unsent:
            if not self._unsent or unsent < self._unsent:
                self._taken = now
            self._unsent = unsent
            if now - self._taken > limits.send_s:
                transport.abort()
            self._since = now
            return
        self._unsent = 0
        if self._ending and not self._exchanges:
            if now - self._since > min(limits.linger_s, idle_s):
                transport.abort()
        elif self._message is not None and not self._ending:
            if now - self._begun > limits.receive_s + self._body_bytes / limits.receive_bytes_s:
                self._refuse(408, "the request took too long to come in")
        elif not self._exchanges and now - self._since > idle_s:
            transport.close()

    def touch(self, now: float) -> None:
        """Count idle time from now."""
        self._since = now

    def turn_away(self) -> None:
        """Refuse a client because there are too many."""
        self._refuse(503, "too many connections; try again later")

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()


class Front:
    """All connections, and what they share."""

    def __init__(self, app: App, counters: Counters, limits: HttpLimits | None = None) -> None:
        self.app = app
        self.limits = limits or HttpLimits()
        self.held_bytes = 0
        self.draining = False
        self._counters = counters
        self._connections: set[Connection] = set()
        self._heads: dict[tuple[int, bytes], bytes] = {}
        self._recounted = 0.0

    def __call__(self) -> Connection:
        """A new connection's protocol."""
        return Connection(self)

    def __len__(self) -> int:
        """Open connections."""
        return len(self._connections)

    def add(self, connection: Connection) -> None:
        """A client has connected."""
        self._connections.add(connection)
        if len(self._connections) > self.limits.connections:
            connection.turn_away()

    def remove(self, connection: Connection) -> None:
        """A client is gone."""
        self._connections.discard(connection)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more may be held."""
        if self.held_bytes + size <= self.limits.held_bytes:
            return True
        # What waits in a transport leaves without a word of it. Asked again, but not for each of many refusals.
        now = time.monotonic()
        if now - self._recounted >= RECOUNT_S:
            self._recounted = now
            for connection in self._connections:
                connection.recount()
        return self.held_bytes + size <= self.limits.held_bytes

    def count(self, status: int) -> None:
        """Count an answer that is an error."""
        if status >= 500 and status != 503:
            self._counters.failed += 1
        else:
            self._counters.refused += 1

    def head(self, status: int, content_type: bytes) -> bytes:
        """The response's head without the length of its body."""
        key = (status, content_type)
        head = self._heads.get(key)
        if head is None:
            head = b"HTTP/1.1 %d %s\r\nDate: %s\r\n" % (
                status,
                _REASONS.get(status, b""),
                formatdate(usegmt=True).encode(),
            )
            if content_type:
                head += b"Content-Type: %s\r\n" % content_type
            self._heads[key] = head
        return head

    def drain(self) -> None:
        """From now on answer with "Connection: close", and close a connection soon after its last answer.

        Not at once, since a client of a kept connection may have just sent a request.
        """
        self.draining = True
        now = time.monotonic()
        for connection in self._connections:
            connection.touch(now)

    def check(self, now: float) -> None:
        """Look at every connection's time; call several times a second."""
        self._heads.clear()  # the date
        for connection in list(self._connections):
            connection.check(now, DRAIN_IDLE_S if self.draining else self.limits.idle_s)

    def abort(self) -> None:
        """Cut every connection."""
        for connection in list(self._connections):
            connection.abort()


def _path(url: bytes) -> bytes:
    """The path of a request's target, which may be a whole URL and may have a query."""
    try:
        return httptools.parse_url(url).path or b"/"
    except httptools.HttpParserInvalidURLError:
        return url
