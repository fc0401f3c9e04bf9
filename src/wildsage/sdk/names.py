"""Names of jobs, models and endpoints, made as SageMaker's SDK makes them (its module `utils`)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from random import SystemRandom
from typing import Any

Tags = Sequence[Mapping[str, str]] | Mapping[str, str]


def sagemaker_timestamp() -> str:
    """The time in UTC as YYYY-mm-dd-HH-MM-SS-mmm."""
    now_ms = time.time_ns() // 1_000_000
    return time.strftime("%Y-%m-%d-%H-%M-%S", time.gmtime(now_ms // 1000)) + f"-{now_ms % 1000:03d}"


def sagemaker_short_timestamp() -> str:
    """The time in UTC as yymmdd-HHMM."""
    return time.strftime("%y%m%d-%H%M", time.gmtime())


def name_from_base(base: str, max_length: int = 63, short: bool = False) -> str:
    """Return the base, cut where needed, with the time behind it."""
    timestamp = sagemaker_short_timestamp() if short else sagemaker_timestamp()
    return f"{base[: max_length - len(timestamp) - 1]}-{timestamp}"


def unique_name_from_base(base: str, max_length: int = 63) -> str:
    """Return the base, cut where needed, with the time in seconds and four random hexadecimal digits behind it."""
    ending = f"{int(time.time())}-{SystemRandom().randrange(16**4):04x}"
    return f"{base[: max_length - len(ending) - 1]}-{ending}"


def base_name_from_image(image: str, default_base_name: str | None = None) -> str:
    """Return the repository name of an image URI: what is behind the last slash and before the tag.

    Characters that a job's name may not have (an underscore, say) become hyphens.
    """
    found = re.fullmatch(r"(?:.+/)?([^:/@]+)(?:[:@].+)?", image)
    name = found.group(1) if found else default_base_name or image
    return re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-") or "job"


def name_from_image(image: str, max_length: int = 63) -> str:
    """Return a job name made of an image's repository name and the time."""
    return name_from_base(base_name_from_image(image), max_length=max_length)


def base_from_name(name: str) -> str:
    """Return a name without the time that `name_from_base` put behind it."""
    found = re.match(r"(.+)-(\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-\d{3}|\d{6}-\d{4})", name)
    return found.group(1) if found else name


def format_tags(tags: Tags | None) -> list[dict[str, str]] | None:
    """Return tags in the form of the wire, [{"Key": …, "Value": …}]; a plain dict is taken too."""
    if tags is None:
        return None
    if isinstance(tags, Mapping):
        return [{"Key": str(key), "Value": str(value)} for key, value in tags.items()]
    return [dict(tag) for tag in tags]


def filled(**members: Any) -> dict[str, Any]:
    """Return the members that are not None: optional members of a request are left out, never sent empty."""
    return {name: value for name, value in members.items() if value is not None}
