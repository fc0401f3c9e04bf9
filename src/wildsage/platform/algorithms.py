"""Which algorithm an image or a name means."""

from __future__ import annotations

from wildsage.contract import builtins
from wildsage.contract.errors import ClientError
from wildsage.platform.errors import invalid, not_supported


def resolve_algorithm(image: str, member: str, operation: str) -> str:
    """The algorithm's canonical name. Raises ServiceError for one that is not known, or not installed."""
    try:
        name = builtins.resolve(image)
    except ClientError as error:
        raise invalid(f"{member}: {error}", operation=operation) from error
    there = builtins.installed()
    if name not in there:
        raise not_supported(f"{member}: the algorithm {name}", f"there are {', '.join(there)}", operation=operation)
    return name
