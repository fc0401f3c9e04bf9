"""`platform.runtime`: boto3's `sagemaker-runtime` client for the endpoints of this home."""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Iterator
from typing import Any

from wildsage.platform import shapes
from wildsage.platform.context import Context
from wildsage.platform.endpoints import Endpoints
from wildsage.platform.errors import ServiceError
from wildsage.platform.names import ACCOUNT, Kind
from wildsage.platform.records import Record
from wildsage.platform.servers import Address, Answer, Connections
from wildsage.platform.states import Status

OPERATION = "InvokeEndpoint"
READY_WAIT_S = 60.0  # an endpoint that is being created is waited for, so that deploy(wait=False); predict() works
TIMEOUT_S = 70.0  # the service gives a container 60 s
_LOOK_S = 0.02
_HEADERS = {
    "ContentType": "Content-Type",
    "Accept": "Accept",
    "CustomAttributes": "X-Amzn-SageMaker-Custom-Attributes",
    "InferenceId": "X-Amzn-SageMaker-Inference-Id",
}


class Body(io.BytesIO):
    """The answer's bytes, with what callers use of botocore's StreamingBody."""

    def iter_chunks(self, chunk_size: int = 1024) -> Iterator[bytes]:
        while chunk := self.read(chunk_size):
            yield chunk


class Runtime:
    """Invokes endpoints over HTTP. Connections are kept, and a known endpoint's record is not read again."""

    def __init__(self, context: Context, endpoints: Endpoints) -> None:
        self._context, self._endpoints = context, endpoints
        self._connections = Connections()
        self._known: dict[str, tuple[Address, str]] = {}  # by endpoint name: address and variant

    def close(self) -> None:
        self._connections.close()
        self._known.clear()

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        """Send a body to an endpoint. Raises ServiceError: ValidationError, ModelError, ModelNotReadyException."""
        request = shapes.check("sagemaker-runtime", OPERATION, request)
        if "TargetModel" in request or "InferenceComponentName" in request:
            raise ServiceError(
                "ValidationError", "TargetModel and InferenceComponentName are not supported yet", operation=OPERATION
            )
        name = request["EndpointName"]
        body = request["Body"].encode() if isinstance(request["Body"], str) else bytes(request["Body"])
        headers = {header: request[member] for member, header in _HEADERS.items() if member in request}
        known = self._known.get(name)
        answer = None
        # Asked each time, as it takes microseconds: the port of an endpoint that has gone may be another's by now.
        if known is not None and self._endpoints.listening(name) == known[0]:
            answer = self._post(known[0], body, headers)
        if answer is None:
            # Not known, or no longer there: the record tells, and puts right what can be.
            known = self._known[name] = self._look_up(name)
            answer = self._post(known[0], body, headers)
        if answer is None:
            self._known.pop(name, None)
            raise ServiceError("ServiceUnavailable", f"{name} does not answer", operation=OPERATION, status=503)
        return self._response(name, known[1] if known else "", request.get("TargetVariant"), answer)

    def _response(self, name: str, variant: str, wanted: str | None, answer: Answer) -> dict[str, Any]:
        if wanted is not None and wanted != variant:
            text = f'TargetVariant = "{wanted}" is not allowed: {name} has {variant}'
            raise ServiceError("ValidationError", text, operation=OPERATION)
        if answer.status >= 300:
            said = answer.body.decode("utf-8", "replace")
            side = "client" if answer.status < 500 else "server"
            raise ServiceError(
                "ModelError",
                f'Received {side} error ({answer.status}) from {variant} with message "{said}".',
                operation=OPERATION,
                status=424,
                OriginalStatusCode=answer.status,
                OriginalMessage=said,
                LogStreamArn=f"arn:aws:logs:{self._context.region}:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{name}",
            )
        found = {
            "Body": Body(answer.body),
            "ContentType": answer.headers.get("Content-Type") or "application/octet-stream",
            "InvokedProductionVariant": variant,
        }
        attributes = answer.headers.get("X-Amzn-SageMaker-Custom-Attributes")
        return found if attributes is None else {**found, "CustomAttributes": attributes}

    def _look_up(self, name: str) -> tuple[Address, str]:
        """Address and variant of an endpoint that is in service; one that is on its way is waited for."""
        deadline = time.monotonic() + READY_WAIT_S
        while True:
            record = self._record(name)
            if record.status is Status.IN_SERVICE:
                variant = record.request["ProductionVariant"]["VariantName"]
                return self._endpoints.address(name, OPERATION), variant
            if record.status not in (Status.CREATING, Status.SYSTEM_UPDATING):
                why = f": {record.state['failure_reason']}" if "failure_reason" in record.state else ""
                text = f"The endpoint {name} is in status {record.status} and cannot be invoked{why}"
                raise ServiceError("ValidationError", text, operation=OPERATION)
            if time.monotonic() > deadline:
                text = f"The endpoint {name} is still in status {record.status}"
                raise ServiceError("ModelNotReadyException", text, operation=OPERATION, status=429)
            time.sleep(_LOOK_S)

    def _record(self, name: str) -> Record:
        record = self._context.store.get(Kind.ENDPOINT, name)
        looked = None if record is None else self._endpoints.look(record)
        if looked is None:
            text = f"Endpoint {name} of account {ACCOUNT} not found."
            raise ServiceError("ValidationError", text, operation=OPERATION)
        return looked

    def _post(self, address: Address, body: bytes, headers: dict[str, str]) -> Answer | None:
        """The answer; None if nothing listens there."""
        try:
            return self._connections.exchange(
                address, "POST", "/invocations", body=body, headers=headers, timeout_s=TIMEOUT_S
            )
        except TimeoutError as error:
            text = f"the model did not answer within {TIMEOUT_S:g} s"
            raise ServiceError("ModelError", text, operation=OPERATION, status=424) from error
        except (OSError, http.client.HTTPException):
            return None


def endpoint_url(endpoints: Endpoints, name: str) -> str:
    """The address to POST to."""
    host, port = endpoints.address(name, "DescribeEndpoint")
    return f"http://{host}:{port}/invocations"
