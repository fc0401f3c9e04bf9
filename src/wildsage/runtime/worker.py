"""One worker: takes batches of requests from the front, answers each through the model.

Forked from the zygote, or, where a model cannot be forked, a program of its own that loads the model first.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wildsage.contract import log
from wildsage.contract.errors import ClientError
from wildsage.contract.failure import failure_text
from wildsage.runtime import frames, loader
from wildsage.runtime.bodies import RequestError
from wildsage.runtime.forms import form_of

if TYPE_CHECKING:
    from wildsage.algorithms.base import Model
    from wildsage.runtime.forms import Asked

logger = logging.getLogger(__name__)

# One predict call takes the instances of several requests, up to so many: enough to share the cost of a call, few
# enough that the first answers leave while the rest is computed.
INSTANCES_A_CALL = 64
# A request of more instances is answered in slices that take about so long each, and put off after the first ones:
# those that come meanwhile are answered between two slices.
SLICE_S = 0.01
MOST_A_SLICE = 4096


class Worker:
    """Answers requests with one model."""

    def __init__(self, model: Model, default_accept: str = "") -> None:
        self._form = form_of(model, default_accept)
        self._slice = INSTANCES_A_CALL
        self._put_off: deque[_Sliced] = deque()

    def run(self, link: socket.socket) -> None:
        """Answer what comes over the link until its other end is closed."""
        inbox = frames.Inbox(link)
        try:
            link.sendall(frames.answer(frames.READY, b"", str(os.getpid()).encode()))
            while True:
                if self._put_off and not inbox.waits():
                    if (answer := self._step(self._put_off[0])) is not None:
                        self._put_off.popleft()
                        link.sendall(frames.answer(frames.NOW, b"", b"") + answer)
                    continue
                if (asked := inbox.next()) is None:
                    return
                for answers in self._answers(asked):
                    link.sendall(answers)
                if self._put_off and (answer := self._step(self._put_off[0])) is not None:  # never without a share
                    self._put_off.popleft()
                    link.sendall(frames.answer(frames.NOW, b"", b"") + answer)
        except (BrokenPipeError, ConnectionResetError):
            return  # the front is gone

    def _answers(self, asked: Sequence[frames.Asked]) -> Iterator[bytes]:
        """Yield answer frames, joined for as many requests as share a predict call, in order."""
        group: list[Asked | bytes] = []  # a request, or the answer to one that cannot be read
        instances = 0
        for content_type, accept, body in asked:
            try:
                request = self._form.read(body, content_type, accept)
            except RequestError as error:
                group.append(_refusal(error.status, str(error)))
                continue
            except Exception as error:  # noqa: BLE001 (a fault of ours; the worker goes on)
                group.append(_failure(error))
                continue
            if group and instances + len(request) > INSTANCES_A_CALL:
                yield self._group(group)
                group, instances = [], 0
            if len(request) > INSTANCES_A_CALL:
                yield self._begin(_Sliced(request))
                continue
            group.append(request)
            instances += len(request)
        if group:
            yield self._group(group)

    def _begin(self, sliced: _Sliced) -> bytes:
        """The answer to a request of many instances, or that it comes later."""
        until = time.monotonic() + SLICE_S
        while (answer := self._step(sliced)) is None:
            if time.monotonic() >= until:
                self._put_off.append(sliced)
                return frames.answer(frames.LATER, b"", b"")
        return answer

    def _step(self, sliced: _Sliced) -> bytes | None:
        """Answer one slice of a request; its answer frame, if that was the last one or has failed."""
        begun = time.monotonic()
        request, at = sliced.request, sliced.done
        end = min(at + self._slice, len(request))
        try:
            sliced.add(self._form.part(request, at, end))
        except ClientError as error:
            return _refusal(getattr(error, "status", 400), str(error))
        except Exception as error:  # noqa: BLE001 (a fault of the model is that request's answer)
            return _failure(error)
        sliced.done = end
        took_s = time.monotonic() - begun
        if took_s > 2 * SLICE_S and self._slice > 1:
            self._slice //= 2
        elif took_s < SLICE_S / 2 and end - at == self._slice < MOST_A_SLICE:
            self._slice *= 2
        if end < len(request):
            return None
        return frames.answer(200, request.answer_type.encode(), self._form.join(request, sliced.parts))

    def _group(self, group: list[Asked | bytes]) -> bytes:
        requests = [part for part in group if not isinstance(part, bytes)]
        shared: list[bytes] = []
        if len(requests) > 1:
            try:
                shared = self._form.together(requests)
            except Exception:  # noqa: BLE001 (asked one by one below, so that each gets its own error)
                shared = []
        bodies = iter(shared)
        out = []
        for part in group:
            if isinstance(part, bytes):
                out.append(part)
                continue
            try:
                body = next(bodies) if shared else self._form.join(part, [self._form.part(part, 0, len(part))])
                _check_size(len(body))
            except ClientError as error:
                out.append(_refusal(getattr(error, "status", 400), str(error)))
            except Exception as error:  # noqa: BLE001 (a fault of the model is that request's answer)
                out.append(_failure(error))
            else:
                out.append(frames.answer(200, part.answer_type.encode(), body))
        return b"".join(out)


class _Sliced:
    """A request of many instances, and the answers to the first of them."""

    def __init__(self, request: Asked) -> None:
        self.request = request
        self.done = 0
        self.parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Raises RequestError as soon as the answer has become too large, long before it is all made."""
        self._size += len(part)
        _check_size(self._size)
        self.parts.append(part)


def _check_size(size: int) -> None:
    if size > frames.LARGEST_ANSWER:
        allowed = f"more than the {frames.LARGEST_ANSWER:,} allowed"
        raise RequestError(f"the answer has {size:,} bytes or more, {allowed}; ask for less at once", 500)


def _refusal(status: int, message: str) -> bytes:
    if status == HTTPStatus.NO_CONTENT:
        return frames.answer(status, b"", b"")
    return frames.answer(status, b"application/json", msgspec.json.encode({"message": _sendable(message)}))


def _failure(error: Exception) -> bytes:
    logger.error("A request failed\n%s", "".join(traceback.format_exception(error)).rstrip())
    text = " ".join(str(error).split())
    return _refusal(500, f"the model failed: {type(error).__name__}: {text}"[:1000])


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def ignore_signals() -> None:
    """Leave SIGTERM and Ctrl-C to the front, which drains first; its going away is what ends the rest.

    A handler and not SIG_IGN, which programs started from a model would inherit.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="wildsage.runtime.worker")
    parser.add_argument("--link", type=int, required=True, help="descriptor of the socket to the front")
    parser.add_argument("--algorithm", required=True)
    parser.add_argument("--model", type=Path, required=True)
    options = parser.parse_args(arguments)
    log.configure()
    ignore_signals()
    link = socket.socket(fileno=options.link)
    link.set_inheritable(False)
    try:
        model = loader.load(loader.find(options.model, options.algorithm), options.model)
    except Exception as error:  # noqa: BLE001 (the front is told, and says it)
        if not isinstance(error, ClientError):
            traceback.print_exception(error)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # another worker's word ended the front
            link.sendall(frames.answer(frames.FAILED, b"", failure_text(error).encode("utf-8", "replace")))
        return 1
    Worker(model, os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "")).run(link)
    return 0


if __name__ == "__main__":
    sys.exit(main())
