"""What a worker asks of a kind of requests: those of instances, such as texts, and those of rows of numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from wildsage.algorithms.row_model import RowModel
from wildsage.contract.errors import ClientError
from wildsage.runtime import negotiation
from wildsage.runtime.bodies import RequestError
from wildsage.runtime.negotiation import Request

if TYPE_CHECKING:
    from wildsage.algorithms.base import Model

_NUMBERED = re.compile(r"instance (\d+)\b")


class Asked(Protocol):
    """A body that has been read. Its length: instances that it has."""

    @property
    def answer_type(self) -> str: ...

    def __len__(self) -> int: ...


R = TypeVar("R", bound=Asked)


class Form(Protocol[R]):
    """Reads the requests to a model, and answers them through it."""

    def read(self, body: bytes, content_type: str, accept: str) -> R:
        """A request body. content_type, accept: the headers, "" if missing. Raises RequestError, with a status."""

    def part(self, request: R, begin: int, end: int) -> bytes:
        """The answers to the instances from begin to end, as a piece for `join`. Raises ClientError for a bad one."""

    def join(self, request: R, parts: Sequence[bytes]) -> bytes:
        """The body of the answer to a request from the pieces of all its instances."""

    def together(self, requests: Sequence[R]) -> list[bytes]:
        """The bodies of the answers to several requests, through as few calls of the model as can be.

        Raises what part raises, for none in particular.
        """


def form_of(model: Model, default_accept: str = "") -> Form[Any]:
    """The form that a model's requests have. default_accept: stands for a missing Accept."""
    if isinstance(model, RowModel):
        from wildsage.runtime.rows import Rows  # NumPy and the readers: only where they are needed

        return Rows(model, default_accept)
    return Instances(model, default_accept)


class Instances:
    """Requests of decoded values, each with options of its own."""

    def __init__(self, model: Model, default_accept: str = "") -> None:
        self._model = model
        self._types = tuple(model.request_types)
        self._default_accept = default_accept

    def read(self, body: bytes, content_type: str, accept: str) -> Request:
        return negotiation.read(body, content_type, accept, self._types, self._default_accept)

    def part(self, request: Request, begin: int, end: int) -> bytes:
        try:
            answers = self._predict(request.instances[begin:end], request.options[begin:end])
        except ClientError as error:
            if not begin:
                raise
            # The model counts from the start of the slice.
            text = _NUMBERED.sub(lambda found: f"instance {int(found[1]) + begin}", str(error), count=1)
            raise RequestError(text, getattr(error, "status", 400)) from error
        return negotiation.write(answers, request.answer_type)

    def join(self, request: Request, parts: Sequence[bytes]) -> bytes:
        return negotiation.join(parts, request.answer_type)

    def together(self, requests: Sequence[Request]) -> list[bytes]:
        answers = self._predict(
            [instance for request in requests for instance in request.instances],
            [options for request in requests for options in request.options],
        )
        bodies = []
        at = 0
        for request in requests:
            end = at + len(request)
            bodies.append(negotiation.write(answers[at:end], request.answer_type))
            at = end
        return bodies

    def _predict(self, instances: Sequence[Any], options: Sequence[Mapping[str, Any]]) -> list[Any]:
        if not instances:
            return []
        answers = self._model.predict(instances, options)
        if len(answers) != len(instances):
            raise RuntimeError(f"the model gave {len(answers)} answers to {len(instances)} instances")
        return answers
