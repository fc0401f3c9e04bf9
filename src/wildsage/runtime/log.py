"""The log of the runtime's programs: lines on standard error, in the form of the built-in algorithms."""

from __future__ import annotations

import logging
import os


def configure() -> None:
    """Log INFO and above (or SAGEMAKER_CONTAINER_LOG_LEVEL, a number) as "[MM/DD/YYYY HH:MM:SS LEVEL pid] text"."""
    level = os.environ.get("SAGEMAKER_CONTAINER_LOG_LEVEL", "")
    logging.basicConfig(
        format="[%(asctime)s %(levelname)s %(process)d] %(message)s",
        datefmt="%m/%d/%Y %H:%M:%S",
        level=int(level) if level.isdigit() else logging.INFO,
    )
