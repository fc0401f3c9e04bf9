"""The log of the runtime's programs, in the form of the built-in algorithms, which tools that read logs know."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import TextIO


def configure(stream: TextIO | None = None) -> None:
    """Log each line at once, as "[MM/DD/YYYY HH:MM:SS LEVEL number] text"; to standard error unless told otherwise.

    In UTF-8 whatever the locale: that is how it is read. The level is INFO, or SAGEMAKER_CONTAINER_LOG_LEVEL. The
    number is the process's, which tells the workers of a server apart.
    """
    stream = stream or sys.stderr
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    level = os.environ.get("SAGEMAKER_CONTAINER_LOG_LEVEL", "")
    logging.basicConfig(
        format="[%(asctime)s %(levelname)s %(process)d] %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        level=int(level) if level.isdecimal() else logging.INFO,
        stream=stream,
        force=True,
    )
