"""The platform that a command talks to, opened late and closed when the command ends."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from wildsage.platform.service import Platform
    from wildsage.sdk.session import Session

PAGE = 100  # the most that a list operation gives at once

_opened = ExitStack()


def platform() -> Platform:
    """The platform of the home folder."""
    from wildsage.platform.service import Platform

    return _opened.enter_context(Platform())


def listed(operation: Callable[..., dict[str, Any]], key: str, **request: Any) -> Iterator[dict[str, Any]]:
    """All summaries that a list operation has, from as many pages as it takes. key: the pages' member."""
    token: dict[str, str] = {}
    while True:
        page = operation(MaxResults=PAGE, **request, **token)
        yield from page[key]
        if "NextToken" not in page:
            return
        token = {"NextToken": page["NextToken"]}


def session(platform: Platform) -> Session:
    """An SDK session over the same platform."""
    from wildsage.sdk.session import Session

    return Session(sagemaker_client=platform)


def close() -> None:
    _opened.close()
