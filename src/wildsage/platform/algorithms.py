"""Which algorithm an image or a name means, and what is known of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from wildsage.contract import builtins
from wildsage.contract.builtins import BuiltIn, ChannelFact
from wildsage.contract.errors import ClientError
from wildsage.contract.hyperparameters import HyperparameterFact
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


def facts_of(image: str) -> BuiltIn:
    """What is known of an algorithm, by any of its names: of a built-in its table, of a third party's its own words.

    The latter are asked for in a process of their own, as nothing of an algorithm is loaded here. Raises ClientError
    for an unknown name, and for an algorithm that cannot be loaded.
    """
    name = builtins.resolve(image)
    if name in builtins.names():
        return builtins.table(name)
    command = [sys.executable, "-m", "wildsage.runtime.describe", name]
    answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        said = answer.stderr.strip().rpartition("\n")[2]
        raise ClientError(f"the algorithm {name} cannot be described: {said}")
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    channels = [
        *(ChannelFact(channel, True, "", (), (), ()) for channel in found["required_channels"]),
        *(ChannelFact(channel, False, "", (), (), ()) for channel in found["optional_channels"]),
    ]
    rows = [{key: value for key, value in row.items() if key != "allowed"} for row in found["hyperparameters"]]
    return BuiltIn.third_party(
        name, tuple(map(HyperparameterFact.from_json, rows)), tuple(channels), tuple(found["request_types"])
    )
