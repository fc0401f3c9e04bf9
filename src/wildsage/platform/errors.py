"""The errors of the control plane, in the form in which botocore hands them to its users."""

from __future__ import annotations

from typing import Any

from wildsage.contract.errors import ClientError


class ServiceError(ClientError):
    """A refused request.

    code: the service's name of the error, such as "ValidationException". status: the HTTP status that goes with it.
    operation: the operation in the wire's spelling, such as "CreateModel". members: further members of the error's
    shape. `response` has the form of botocore's ClientError, so that code that looks into one can look into the other.
    """

    def __init__(self, code: str, message: str, *, operation: str = "", status: int = 400, **members: Any) -> None:
        super().__init__(message)
        self.code, self.message, self.operation_name, self.status = code, message, operation, status
        self.response: dict[str, Any] = {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},
            **members,
        }


def invalid(message: str, *, operation: str = "") -> ServiceError:
    """A request that breaks a rule."""
    return ServiceError("ValidationException", message, operation=operation)


def not_supported(what: str, instead: str, *, operation: str = "") -> ServiceError:
    """A feature of the managed service that is not here; `instead` says what to do."""
    return invalid(f"{what} is not supported yet: {instead}", operation=operation)
