"""The lines that the programs of a job log, in the built-ins' own form: "[11/24/2026 08:30:00 INFO 4711] text"."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import TextIO

TIME = "%m/%d/%Y %H:%M:%S"
LEVEL_VARIABLE = "SAGEMAKER_CONTAINER_LOG_LEVEL"


def configure(stream: TextIO | None = None) -> None:
    """Log INFO and above, or what SAGEMAKER_CONTAINER_LOG_LEVEL says (a number of logging's); each line at once.

    stream: standard error unless given; in UTF-8 whatever the locale, since that is how it is read. The number in a
    line is the process's, which tells the workers of a server apart.
    """
    stream = stream or sys.stderr
    if isinstance(stream, TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    level = os.environ.get(LEVEL_VARIABLE, "")
    logging.basicConfig(
        format="[%(asctime)s %(levelname)s %(process)d] %(message)s",
        datefmt=TIME,
        level=int(level) if level.isdecimal() else logging.INFO,
        stream=stream,
        force=True,
    )
