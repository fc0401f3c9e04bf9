"""The lines that the programs of a job log, in the built-ins' own form: "[11/24/2026 08:30:00 INFO 4711] text"."""

from __future__ import annotations

import logging
import os
from typing import Literal, TextIO

TIME = "%m/%d/%Y %H:%M:%S"
LEVEL_VARIABLE = "SAGEMAKER_CONTAINER_LOG_LEVEL"


def configure(stream: TextIO | None = None, *, who: Literal["process", "thread"] = "process") -> None:
    """Log INFO and above, or what SAGEMAKER_CONTAINER_LOG_LEVEL says (a number of logging's); each line at once.

    stream: standard error unless given. who: whose number a line bears.
    """
    text = os.environ.get(LEVEL_VARIABLE, "")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(f"[%(asctime)s %(levelname)s %({who})d] %(message)s", TIME))
    level = int(text) if text.isdecimal() else logging.INFO
    logging.basicConfig(level=level, handlers=[handler], force=True)
