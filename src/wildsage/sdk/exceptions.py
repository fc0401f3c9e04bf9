"""What the SDK raises beyond the errors of the platform, in SageMaker's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from wildsage.contract.errors import ClientError, WildsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ArgumentError(ClientError, ValueError):
    """An argument has a value that cannot work. It is a ValueError too, which SageMaker's SDK raises there."""


class NotSupportedError(ClientError, NotImplementedError):
    """SageMaker has this, this version has not."""


class UnexpectedStatusException(WildsageError, ValueError):  # noqa: N818 - SageMaker's name
    """A job or endpoint ended in a status other than the wanted ones; the message has the reason."""

    def __init__(self, message: str, allowed_statuses: Sequence[str], actual_status: str) -> None:
        super().__init__(message)
        self.allowed_statuses = allowed_statuses
        self.actual_status = actual_status


class CapacityError(UnexpectedStatusException):
    """The reason was that the machine had no room."""


def unsupported(what: str, instead: str = "") -> NoReturn:
    """Raise NotSupportedError. what: subject of the sentence; instead: what to do, a whole sentence."""
    raise NotSupportedError(f"{what} is not supported by this version.{' ' if instead else ''}{instead}")


def one_of(what: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ArgumentError unless `value` is one of the allowed words."""
    words = list(allowed)
    if value not in words:
        hint = nearest(value, words) if isinstance(value, str) else ""
        raise ArgumentError(f"{what} = {value!r} is not allowed: one of {', '.join(words)}{hint}")
