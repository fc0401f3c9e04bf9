"""A client that writes down what it is asked, holds it to botocore's service model, and answers what it was told."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@functools.cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


class RefusedError(Exception):
    """A service's error, in the form of botocore's ClientError."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.response = {"Error": {"Code": code, "Message": message}}


class RecordingClient:
    """answers: operation in Python's spelling -> a dict, an exception, a function of the request, or a list of these,
    one a call, the last of which stays."""

    def __init__(self, service: str, answers: dict[str, Any] | None = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers = answers or {}
        self._model = _model(service)
        self._names = {botocore.xform_name(name): name for name in self._model.operation_names}

    def __getattr__(self, name: str) -> Any:
        names = self.__dict__.get("_names", {})
        if name not in names:
            raise AttributeError(name)

        def call(**request: Any) -> Any:
            shape = self._model.operation_model(names[name]).input_shape
            report = ParamValidator().validate(request, shape)
            assert not report.has_errors(), report.generate_report()
            self.calls.append((name, request))
            answer = self.answers.get(name, {})
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
            if isinstance(answer, Exception):
                raise answer
            return answer(request) if callable(answer) else answer

        return call

    def sent(self, name: str) -> dict[str, Any]:
        """The only request of an operation."""
        (request,) = (request for called, request in self.calls if called == name)
        return request

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class RecordingBoto:
    """The place of a boto3 session: a recording client for each service."""

    region_name = "eu-west-1"

    def __init__(self, **clients: RecordingClient) -> None:
        self.clients = {name.replace("_", "-"): client for name, client in clients.items()}
        self.clients.setdefault("sts", RecordingClient("sts", {"get_caller_identity": {"Account": "123456789012"}}))

    def client(self, service: str) -> RecordingClient:
        if service not in self.clients:
            self.clients[service] = RecordingClient(service)
        return self.clients[service]
