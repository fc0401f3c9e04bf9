"""Where data lies: what a user writes (a path, file://…, s3://…) as the platform wants to have it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wildsage.sdk.exceptions import ArgumentError

if TYPE_CHECKING:
    from wildsage.sdk.session import Session

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_url(location: str) -> bool:
    """Whether the text is a URL (s3://…, file://…, gs://…), not a path."""
    return _URL.match(location) is not None


def local_path(location: str) -> Path | None:
    """Return the absolute path that a path or a file:// URL means; None for any other URL. Symbolic links stay."""
    if location.startswith("file://"):
        # Local mode of SageMaker's SDK takes file://relative/path too, so the host part belongs to the path.
        parts = urlsplit(location)
        return Path(os.path.abspath(unquote(parts.netloc + parts.path)))
    return None if is_url(location) else Path(os.path.abspath(os.path.expanduser(location)))


def source(location: str | os.PathLike[str], session: Session, what: str) -> str:
    """Return the location of data to read, absolute; whether it is there is for the platform to say, about all at once.

    what: names it in errors, such as 'channel "train"'. Raises ArgumentError for a path that is given to a session
    whose jobs run elsewhere.
    """
    text = os.fspath(location)
    path = local_path(text)
    if path is None:
        return text
    if session.embedded:
        return str(path)
    if text.startswith("file://"):
        return text  # the server may share our disk; it says so itself if it does not
    raise ArgumentError(
        f"{what}: {text} is a path of this machine, but the session's jobs run elsewhere; "
        f"upload it first: session.upload_data({text!r})"
    )


def target(location: str | os.PathLike[str]) -> str:
    """Return the location of data to write, absolute; it need not exist yet."""
    text = os.fspath(location)
    path = local_path(text)
    return text if path is None else str(path)
