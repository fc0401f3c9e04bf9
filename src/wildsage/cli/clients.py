"""The platform that a command talks to, opened late and closed when the command ends."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wildsage.platform.service import Platform
    from wildsage.sdk.session import Session

_opened = ExitStack()


def platform() -> Platform:
    """The platform of the home folder."""
    from wildsage.platform.service import Platform

    return _opened.enter_context(Platform())


def session(platform: Platform) -> Session:
    """An SDK session over the same platform."""
    from wildsage.sdk.session import Session

    return Session(sagemaker_client=platform)


def close() -> None:
    _opened.close()
