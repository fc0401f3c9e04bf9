"""The arguments of `wildsage train`: which are channels, which are hyperparameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wildsage.contract.channels import canonical
from wildsage.contract.errors import ClientError, nearest

if TYPE_CHECKING:
    from wildsage.contract.builtins import BuiltIn


@dataclass(frozen=True)
class JobArguments:
    """channels: name to path or URL. hyperparameters: name to the value's text."""

    channels: dict[str, str] = field(default_factory=dict)
    hyperparameters: dict[str, str] = field(default_factory=dict)


def pair(text: str) -> tuple[str, str]:
    """Part NAME=VALUE at the first equals sign. Raises ClientError for a text without one, or without a name."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ClientError(f'"{text}" is not of the form NAME=VALUE, such as train=train.txt or epochs=10')
    return name.strip(), value


def sort_out(
    arguments: Sequence[str],
    *,
    channels: Collection[str],
    hyperparameters: Collection[str],
    switches: Collection[str] = (),
    forced_channels: Sequence[str] = (),
    forced_hyperparameters: Sequence[str] = (),
) -> JobArguments:
    """Tell channels from hyperparameters by the names that the algorithm has; the forced ones are what they are.

    arguments: NAME=VALUE each, as the forced ones are. channels, hyperparameters: the algorithm's own names. switches:
    those hyperparameters that are true or false; where a channel has the name of one (evaluation), the value decides.
    Raises ClientError that names every argument that is neither, with the nearest right name, and every repeated one.
    """
    sorted_out = JobArguments()
    problems: list[str] = []

    def put(into: dict[str, str], kind: str, name: str, value: str) -> None:
        if name in into:
            problems.append(f'{kind} "{name}" is given twice')
        elif kind == "channel" and not value:
            problems.append(f'channel "{name}" is empty: name a file, a folder or a URL')
        else:
            into[name] = value

    for text in arguments:
        try:
            name, value = pair(text)
        except ClientError as error:
            problems.append(str(error))
            continue
        if name in switches and value.strip().lower() in ("true", "false"):
            put(sorted_out.hyperparameters, "hyperparameter", name, value)
        elif name in channels or canonical(name) in channels:
            put(sorted_out.channels, "channel", name, value)
        elif name in hyperparameters:
            put(sorted_out.hyperparameters, "hyperparameter", name, value)
        else:
            advice = nearest(name, [*channels, *hyperparameters])
            problems.append(f'"{name}" is neither a channel nor a hyperparameter of this algorithm{advice}')
    for texts, into, kind in (
        (forced_channels, sorted_out.channels, "channel"),
        (forced_hyperparameters, sorted_out.hyperparameters, "hyperparameter"),
    ):
        for text in texts:
            try:
                name, value = pair(text)
            except ClientError as error:
                problems.append(str(error))
                continue
            put(into, kind, name, value)
    if problems:
        raise ClientError("; ".join(problems))
    return sorted_out


def required(channels: Mapping[str, bool], given: Mapping[str, str]) -> None:
    """Raise ClientError if a channel that must be there is not. channels: name to whether it must be there."""
    there = {*given, *map(canonical, given)}
    missing = [name for name, must in channels.items() if must and name not in there]
    if missing:
        examples = " ".join(f"{name}=PATH" for name in missing)
        raise ClientError(f"missing {'channels' if len(missing) > 1 else 'channel'}: {examples}")


def channels_of(built_in: BuiltIn) -> dict[str, bool]:
    """The channels' names, and whether each must be there; a name can come again for another format."""
    found: dict[str, bool] = {}
    for each in built_in.channels:
        found[each.name] = found.get(each.name, False) or each.required
    if built_in.incremental_training:
        found.setdefault("model", False)
    return found


def hyperparameters_of(built_in: BuiltIn) -> list[str]:
    """The hyperparameters' names, aliases among them."""
    return [name for each in built_in.hyperparameters for name in (each.name, *each.aliases)]


def switches_of(built_in: BuiltIn) -> list[str]:
    """Those of them that are true or false."""
    return [name for each in built_in.hyperparameters if each.type == "bool" for name in (each.name, *each.aliases)]
