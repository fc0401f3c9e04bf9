"""A worker's answers, over a socket whose other end the test holds."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from wildsage.algorithms.base import Model
from wildsage.runtime import frames
from wildsage.runtime.worker import Worker


class Long(Model):
    """Answers each instance, a number, with as many letters."""

    request_types = ("application/json", "text/plain")

    def __init__(self) -> None:
        self.asked = 0

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        return False

    def predict(self, instances: Sequence[Any], options: Sequence[Any]) -> list[Any]:
        self.asked += len(instances)
        return ["x" * each for each in instances]


@contextmanager
def running(model: Model) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    with ours, theirs:
        thread = threading.Thread(target=Worker(model).run, args=(theirs,))
        thread.start()
        try:
            yield ours
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            thread.join()


def answers(link: socket.socket, count: int) -> list[tuple[int, bytes]]:
    """Status and body of so many answers; notices are passed over."""
    found: list[tuple[int, bytes]] = []
    with link.makefile("rb") as file:
        while len(found) < count:
            status, type_size, size = frames.ANSWER.unpack(file.read(frames.ANSWER.size))
            file.read(type_size)
            body = file.read(size)
            if status >= 100:
                found.append((status, body))
    return found


def ask(link: socket.socket, *requests: list[int]) -> None:
    bodies = [json.dumps({"instances": request}).encode() for request in requests]
    link.sendall(b"".join(frames.batch((b"application/json", b"", body) for body in bodies)))


def test_an_answer_that_becomes_too_large_is_given_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "LARGEST_ANSWER", 50_000)
    model = Long()
    with running(model) as link:
        ask(link, [1000] * 100_000, [60_000], [1000] * 40, [10] * 100)
        found = answers(link, 4)
        for status, body in found[:2]:
            assert status == 500
            assert b"bytes or more, more than the 50,000 allowed; ask for less at once" in body
        assert [status for status, _ in found[2:]] == [200, 200]
        assert json.loads(found[3][1]) == ["x" * 10] * 100
    assert model.asked < 1000
