"""HTTP/1.1 as clients, clumsy clients and attackers speak it."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.runtime.serving import PING, Answer, Client, Server, install, instances, request
from tests.waiting import until
from wildsage.runtime.app import App
from wildsage.runtime.dispatcher import Counters, Dispatcher, Job
from wildsage.runtime.front import Front, HttpLimits

HOST = b"Host: localhost\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("front")
    with Server(folder, site=install(folder), SAGEMAKER_MAX_PAYLOAD_IN_MB="1") as running:
        yield running


def label(answer: Answer | None) -> str:
    assert answer is not None
    assert answer.status == 200, answer
    return str(answer.document[0]["label"][0])


def chunked(pieces: list[bytes], end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece) + end


def post(headers: bytes, body: bytes = b"") -> bytes:
    return b"POST /invocations HTTP/1.1\r\n" + HOST + headers + b"\r\n" + body


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    texts = [f"sleep 0.0{9 - number}" for number in range(9)]
    with server.client() as client:
        client.send(b"".join(request(instances(text)) + PING for text in texts))
        for text in texts:
            assert label(client.receive()) == text
            ping = client.receive()
            assert ping is not None
            assert (ping.status, ping.body) == (200, b"")


def test_more_pipelined_requests_than_are_read_at_once(server: Server) -> None:
    texts = [f"text {number}" for number in range(500)]
    with server.client() as client:
        client.send(b"".join(request(instances(text)) for text in texts))
        assert [label(client.receive()) for _ in texts] == texts


@given(
    text=st.text(max_size=300), cuts=st.lists(st.integers(0, 400), max_size=5), extra=st.sampled_from([b"", b";a=b"])
)
def test_chunked_and_counted_bodies_are_one(server: Server, text: str, cuts: list[int], extra: bytes) -> None:
    body = instances(text)
    places = sorted({0, *(cut % len(body) for cut in cuts), len(body)})
    pieces = [body[start:end] for start, end in pairwise(places)]
    parts = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extra, piece) for piece in pieces) + b"0\r\nTrailer: x\r\n\r\n"
    with server.client() as client:
        counted = client.ask(request(body))
        by_chunks = client.ask(post(b"Transfer-Encoding: chunked\r\n", parts))
        assert (by_chunks.status, by_chunks.document) == (counted.status, counted.document)
        assert client.ask(PING).status == 200


@given(cuts=st.lists(st.integers(1, 200), max_size=6))
def test_a_request_may_arrive_in_pieces(server: Server, cuts: list[int]) -> None:
    data = request(instances("in pieces")) + PING
    places = sorted({0, *(cut % len(data) for cut in cuts), len(data)})
    with server.client() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, end in pairwise(places):
            client.send(data[start:end])
        assert label(client.receive()) == "in pieces"
        assert client.receive() is not None


@pytest.mark.parametrize(
    ("data", "status", "says"),
    [
        (post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400, "Transfer-Encoding"),
        (post(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n"), 400, "Transfer-Encoding"),
        (post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"), 400, "Content-Length"),
        (post(b"Content-Length: 3, 3\r\n", b"abc"), 400, "Content-Length"),
        (post(b"Content-Length: -3\r\n", b"abc"), 400, "Content-Length"),
        (post(b"Content-Length: +3\r\n", b"abc"), 400, "Content-Length"),
        (post(b"Content-Length: 0x3\r\n", b"abc"), 400, "Content-Length"),
        (post(b"Content-Length: 99999999999999999999999\r\n"), 400, "Content-Length"),
        (post(b"Content-Length : 3\r\n", b"abc"), 400, "header"),
        (post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), 400, "chunked"),
        (post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"), 400, "chunked"),
        (post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"), 400, "Encoding"),
        (post(b"Transfer-Encoding: chunked\r\n", b"zz\r\n"), 400, "chunk"),
        (post(b"Transfer-Encoding: chunked\r\n", b"3\nabc\n0\n\n"), 400, "chunk"),
        (b"POST /invocations HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0"),
        (b"GET /ping HTTP/1.1\nHost: localhost\n\n", 400, "CR"),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400, "0 Host headers"),
        (b"GET /ping HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400, "2 Host headers"),
        (b"GET /ping HTTP/1.1\r\n" + HOST + b" folded: x\r\n\r\n", 400, "header"),
        (b"GET /ping HTTP/1.1\r\n" + HOST + b"A: a\0b\r\n\r\n", 400, "header"),
        (b"GET /ping HTTP/3.7\r\n" + HOST + b"\r\n", 400, "version"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "HTTP/1.1"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414, "8,192"),
        (b"GET /ping HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 33_000 + b"\r\n\r\n", 431, "32,768"),
        (b"GET /ping HTTP/1.1\r\n" + HOST + b"A: a\r\n" * 40_000, 431, "32,768"),
        (b"GET /ping HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 100_000, 431, "32,768"),
        (b"\r\n" * 40_000, 431, "32,768"),
        (post(b"Content-Length: 1048577\r\n"), 413, "1,048,576"),
        (post(b"Transfer-Encoding: chunked\r\n", chunked([b"a" * 65536] * 17)), 413, "1,048,576"),
        (post(b"Transfer-Encoding: chunked\r\n", b"1;" + b"a" * 70_000), 400, "chunk"),
        (post(b"Expect: miracles\r\nContent-Length: 3\r\n", b"abc"), 417, "miracles"),
        (post(b"Content-Encoding: gzip\r\nContent-Length: 3\r\n", b"abc"), 415, "gzip"),
        (post(b"Connection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n", b"{}"), 501, "protocol"),
        (b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 404, "/invocations"),
        (b"PUT /invocations HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", 405, "POST"),
    ],
)
def test_refused_and_closed(server: Server, data: bytes, status: int, says: str) -> None:
    with server.client() as client:
        client.send(data)
        answer = client.receive()
        assert answer is not None
        assert answer.status == status, answer
        assert says in answer.message
        assert answer.headers["connection"] == "close"
        assert client.receive() is None


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/pingpong", 404, None),
        ("GET", "/invocations", 405, "POST"),
        ("DELETE", "/ping", 405, "GET"),
        ("POST", "/ping", 405, "GET"),
        ("OPTIONS", "/execution-parameters", 405, "GET"),
    ],
)
def test_wrong_paths_and_methods_keep_the_connection(
    server: Server, method: str, path: str, status: int, allow: str | None
) -> None:
    with server.client() as client:
        answer = client.ask(f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert answer.status == status
        assert answer.message
        assert answer.headers.get("allow") == allow
        assert client.ask(PING).status == 200


@pytest.mark.parametrize("target", ["/ping?x=1", "http://localhost/ping", "http://localhost:1/ping?x#y"])
def test_targets_with_queries_and_hosts(server: Server, target: str) -> None:
    assert server.ask(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).status == 200


def test_head_has_no_body(server: Server) -> None:
    with server.client() as client:
        client.send(b"HEAD /ping HTTP/1.1\r\n" + HOST + b"\r\n" + PING)
        answer = client.receive(head_only=True)
        assert answer is not None
        assert answer.status == 405
        following = client.receive()
        assert following is not None
        assert following.status == 200


def test_http_1_0(server: Server) -> None:
    with server.client() as client:
        answer = client.ask(b"GET /ping HTTP/1.0\r\n\r\n")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.receive() is None
    with server.client() as client:
        for _ in range(2):
            answer = client.ask(b"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")


def test_connection_close(server: Server) -> None:
    with server.client() as client:
        client.send(request(instances("last"), Connection="close") + PING)
        answer = client.receive()
        assert label(answer) == "last"
        assert answer is not None
        assert answer.headers["connection"] == "close"
        assert client.receive() is None


def test_an_upgrade_is_passed_over(server: Server) -> None:
    with server.client() as client:
        answer = client.ask(request(method="GET", path="/ping", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c"))
        assert answer.status == 200
        assert client.receive() is None


def test_expect_100_continue(server: Server) -> None:
    body = instances("patient")
    head = post(b"Expect: 100-continue\r\nContent-Length: %d\r\n" % len(body))
    with server.client() as client:
        assert client.ask(head).status == 100
        assert label(client.ask(body)) == "patient"
        # One behind a request that is not answered yet must wait for it, or the two answers would mix.
        client.send(request(instances("sleep 0.05")) + head)
        assert label(client.receive()) == "sleep 0.05"
        go_on = client.receive()
        assert go_on is not None
        assert go_on.status == 100
        assert label(client.ask(body)) == "patient"
        # A client may go on without waiting.
        client.send(head + body)
        answers = [client.receive()]
        if answers[0] is not None and answers[0].status == 100:
            answers = [client.receive()]
        assert label(answers[0]) == "patient"


def test_expect_100_continue_is_refused_before_the_body(server: Server) -> None:
    with server.client() as client:
        assert client.ask(post(b"Expect: 100-continue\r\nContent-Length: 9999999\r\n")).status == 413


def test_a_client_that_closes_its_half_gets_its_answer(server: Server) -> None:
    with server.client() as client:
        client.send(request(instances("sleep 0.05")))
        client.socket.shutdown(socket.SHUT_WR)
        assert label(client.receive()) == "sleep 0.05"
        assert client.receive() is None


def test_clients_that_leave_do_not_hurt(server: Server, tmp_path: Path) -> None:
    go = tmp_path / "go"
    client = server.client()
    client.send(request(instances(f"await {go}")))
    until(lambda: Path(f"{go}.begun").exists())
    client.socket.close()
    for data in (b"POST /invoc", post(b"Content-Length: 100\r\n", b"half"), request(instances("whole"))):
        with server.client() as leaving:
            leaving.send(data)
    go.touch()
    assert label(server.ask(request(instances("after")))) == "after"


def test_large_bodies_both_ways(server: Server) -> None:
    text = "a" * 1_000_000
    with server.client() as client:
        assert label(client.ask(request(instances(text)))) == text
        assert label(client.ask(request(instances("long 9000000")))) == "x" * 9_000_000


def test_an_answer_reports_its_form(server: Server) -> None:
    with server.client() as client:
        lines = client.ask(request(b'{"source": "a", "k": 1}\n"b"', "application/jsonlines"))
        assert lines.headers["content-type"] == "application/jsonlines"
        assert [json.loads(line) for line in lines.body.splitlines()] == [
            {"label": ["a"], "prob": [1.0], "k": 1},
            {"label": ["b"], "prob": [1.0]},
        ]
        rows = client.ask(request(b"a\nb\n", "text/plain", Accept="text/csv"))
        assert (rows.headers["content-type"], rows.body) == ("text/csv", b"a,1.0\nb,1.0\n")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "says"),
    [
        (instances(1), "application/json", 400, "instance 0 is not a text"),
        (instances("fine", 1), "application/json", 400, "instance 1 is not a text"),
        (b'{"instances": ["a"', "application/json", 400, "the body is not JSON"),
        (b"", "application/json", 400, "no body"),
        (b"a", "image/png", 415, "image/png"),
        (instances("fault"), "application/json", 500, "the model failed: KeyError: 'a broken model'"),
    ],
)
def test_bad_bodies_are_refused_with_a_reason(
    server: Server, body: bytes, content_type: str, status: int, says: str
) -> None:
    with server.client() as client:
        answer = client.ask(request(body, content_type))
        assert answer.status == status
        assert says in answer.message
        # In one batch with a good one, which is not to suffer.
        client.send(b"".join([request(instances("good")), request(body, content_type), request(instances("fine"))]))
        assert label(client.receive()) == "good"
        bad = client.receive()
        assert bad is not None
        assert (bad.status, bad.message) == (status, answer.message)
        assert label(client.receive()) == "fine"


def test_not_a_number_becomes_null(server: Server) -> None:
    assert server.ask(request(instances("nan"))).document == [{"label": ["nan"], "prob": [None]}]


PIECES = st.sampled_from(
    [
        b"GET /ping HTTP/1.1\r\n",
        b"POST /invocations HTTP/1.1\r\n",
        b"POST /invocations HTTP/1.0\r\n",
        HOST,
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: x\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"hello",
        PING,
        request(instances("one")),
        b"\n",
        b"\r",
        b": ",
        b"\0",
    ]
)


@settings(max_examples=150)
@given(data=st.lists(PIECES | st.binary(max_size=30), max_size=12).map(b"".join))
@example(data=b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\nabc")
@example(data=b"GET http://[ HTTP/1.1\r\n" + HOST + b"\r\n")
def test_any_bytes_end_in_answers_or_a_close(server: Server, data: bytes) -> None:
    assume(b"HEAD" not in data)  # whose answers have a length and no body
    with server.client() as client:
        client.send(data)
        client.socket.shutdown(socket.SHUT_WR)
        answers = []
        while (answer := client.receive()) is not None:
            answers.append(answer.status)
        assert set(answers) <= {100, 200, 400, 404, 405, 415, 417, 501}
        assert client.socket.recv(1) == b""
    assert server.process.poll() is None


@settings(max_examples=150)
@given(
    body=st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                b"{",
                b"}",
                b"[",
                b"]",
                b'"',
                b",",
                b":",
                b'"instances"',
                b'"source"',
                b'"a"',
                b"1",
                b"\n",
                b"\\u",
                b"\xff",
                b" ",
            ]
        ),
        max_size=15,
    ).map(b"".join),
    content_type=st.sampled_from(
        ["", "application/json", "application/jsonlines", "text/csv", "text/plain", "a/b; charset=x"]
    ),
)
def test_any_body_is_answered_or_refused(server: Server, body: bytes, content_type: str) -> None:
    answer = server.ask(request(body, content_type))
    assert answer.status in (200, 400, 415)
    if answer.status != 200:
        assert answer.message


def test_the_fuzzed_server_still_serves_and_no_worker_was_lost(server: Server) -> None:
    assert label(server.ask(request(instances("still here")))) == "still here"
    assert " ended (" not in server.log()


# With limits of the test's own, and the clock passed in.


class Held(Dispatcher):
    """A dispatcher that answers when the test says so."""

    jobs: list[Job]

    def submit(self, job: Job) -> None:
        self.jobs.append(job)


def in_process(
    scenario: Callable[[Front, Held, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **limits: Any
) -> None:
    async def run() -> None:
        held = Held(1)
        held.jobs = []
        front = Front(App(held, workers=1, max_body_bytes=100), Counters(), HttpLimits(**limits))
        listening = await asyncio.get_running_loop().create_server(front, "127.0.0.1", 0)
        async with listening:
            port = listening.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                async with asyncio.timeout(20):
                    await scenario(front, held, reader, writer)
            finally:
                writer.close()
                front.abort()
                await asyncio.sleep(0)

    asyncio.run(run())


async def condition(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


LATER = 1e9  # seconds from now, by any clock


def test_an_idle_connection_is_closed() -> None:
    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(PING)
        assert b"503" in await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"}")
        front.check(0.0)
        assert len(front) == 1
        front.check(LATER)
        assert await reader.read() == b""

    in_process(scenario)


def test_a_request_that_takes_too_long_to_come_in_is_refused() -> None:
    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(post(b"Content-Length: 100\r\n", b"half"))
        await condition(lambda: front.held_bytes)
        front.check(LATER)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert front.held_bytes == 0

    in_process(scenario)


def test_a_waiting_client_is_not_idle() -> None:
    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request(b"body"))
        await condition(lambda: held.jobs)
        front.check(LATER)
        assert len(front) == 1
        held.jobs[0].answered(200, b"text/plain", b"done")
        assert b"done" in await reader.readuntil(b"done")

    in_process(scenario)


def test_a_client_that_takes_no_answer_is_cut_off() -> None:
    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request(b"body"))
        await condition(lambda: held.jobs)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        held.jobs[0].answered(200, b"text/plain", b"x" * 50_000_000)
        front.check(1.0)
        assert len(front) == 1
        front.check(LATER)
        await condition(lambda: len(front) == 0)

    in_process(scenario)


def test_bodies_of_unanswered_requests_are_bounded() -> None:
    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request(b"x" * 80))
        await condition(lambda: held.jobs)
        assert front.held_bytes == 80
        writer.write(request(b"y" * 80))
        await asyncio.sleep(0.01)
        held.jobs[0].answered(200, b"text/plain", b"done")
        answers = await reader.read()
        assert b"done" in answers
        assert b"HTTP/1.1 503 " in answers
        assert b"Retry-After: 1\r\n" in answers
        assert front.held_bytes == 0

    in_process(scenario, held_bytes=100)


def test_answers_that_are_not_taken_are_bounded() -> None:
    size = 30_000_000  # more than the kernel takes for a client that does not read

    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(1, 4):
            writer.write(request(b"body"))
            await condition(lambda wanted=number: len(held.jobs) == wanted)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        held.jobs[1].answered(200, b"text/plain", b"y" * size)  # waits for the first one
        assert front.held_bytes >= size
        held.jobs[0].answered(200, b"text/plain", b"x" * size)  # as much again does not fit
        held.jobs[2].answered(200, b"text/plain", b"z" * 2 * size)  # and this one never would
        assert size / 2 < front.held_bytes < 1.5 * size
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        data = b""
        while b"more than the" not in data[-1000:]:
            data += await reader.read(1 << 20)
        assert data.startswith(b"HTTP/1.1 503 ")
        assert data.count(b"y") >= size
        assert b"HTTP/1.1 500 " in data
        await condition(lambda: front.has_room(int(1.4 * size)))

    in_process(scenario, held_bytes=int(1.5 * size))


def test_too_many_connections_are_turned_away() -> None:
    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        more_reader, more = await asyncio.open_connection(*writer.get_extra_info("peername"))
        assert (await more_reader.read()).startswith(b"HTTP/1.1 503 ")
        more.close()
        writer.write(PING)
        assert await reader.readuntil(b"\r\n\r\n")

    in_process(scenario, connections=1)


def test_a_client_with_too_many_requests_is_not_read() -> None:
    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(1, 5):
            writer.write(request(b"%d" % number))
            if number < 4:
                await condition(lambda wanted=number: len(held.jobs) == wanted)
        await asyncio.sleep(0.02)
        assert len(held.jobs) == 3
        for number, job in enumerate(held.jobs[:3]):
            job.answered(200, b"text/plain", b"answer %d" % number)
        await condition(lambda: len(held.jobs) == 4)

    in_process(scenario, pipelined=3)


def test_a_gone_clients_request_is_abandoned() -> None:
    async def scenario(front: Front, held: Held, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(request(b"body"))
        await condition(lambda: held.jobs)
        # A client that only closes its half may still wait for the answer; one that resets does not.
        ends = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ends)
        writer.transport.abort()
        await condition(lambda: held.jobs[0].abandoned)
        assert front.held_bytes == 0
        held.jobs[0].answered(200, b"text/plain", b"too late")

    in_process(scenario)


def test_a_raw_client_of_the_tests_sees_a_close(server: Server) -> None:
    with Client(server.address) as client:
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive() is None
