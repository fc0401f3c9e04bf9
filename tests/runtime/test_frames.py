"""What one end puts into a frame, the other takes out, however the socket cuts it."""

from __future__ import annotations

import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from wildsage.runtime import frames

HEADERS = st.binary(max_size=20)
BATCHES = st.lists(st.lists(st.tuples(HEADERS, HEADERS, st.binary(max_size=200)), max_size=4), max_size=4)


@given(batches=BATCHES, cut=st.integers(1, 50))
def test_batches_arrive_whole(batches: list[list[tuple[bytes, bytes, bytes]]], cut: int) -> None:
    here, there = socket.socketpair()
    with here, there:
        data = b"".join(b"".join(frames.batch(batch)) for batch in batches)

        def send() -> None:
            for start in range(0, len(data), cut):
                here.sendall(data[start : start + cut])
            here.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        inbox = frames.Inbox(there)
        for batch in batches:
            assert inbox.next() == [
                (kind.decode("latin-1"), accept.decode("latin-1"), body) for kind, accept, body in batch
            ]
        assert inbox.next() is None
        sender.join()


def test_a_batch_larger_than_the_sockets_buffer() -> None:
    here, there = socket.socketpair()
    body = b"x" * 5_000_000
    with here, there:
        sender = threading.Thread(target=here.sendall, args=(b"".join(frames.batch([(b"t", b"", body)] * 2)),))
        sender.start()
        assert frames.Inbox(there).next() == [("t", "", body)] * 2
        sender.join()


def test_half_a_batch_is_none() -> None:
    here, there = socket.socketpair()
    with there:
        with here:
            here.sendall(b"".join(frames.batch([(b"a", b"b", b"c" * 100)]))[:-1])
        assert frames.Inbox(there).next() is None


@given(status=st.integers(0, 999), content_type=HEADERS, body=st.binary(max_size=100))
def test_an_answer_says_its_sizes(status: int, content_type: bytes, body: bytes) -> None:
    frame = frames.answer(status, content_type, body)
    assert frames.ANSWER.unpack_from(frame) == (status, len(content_type), len(body))
    assert frame[frames.ANSWER.size :] == content_type + body
