"""The shell's completion of names. It must never fail: no suggestion is better than an error on the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

# Typer looks at the annotations of what it calls, and knows the parameter's name.
from typer import Context

from wildsage.cli import clients
from wildsage.contract.errors import WildsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wildsage.contract.builtins import BuiltIn


def algorithm(incomplete: str) -> list[str]:
    from wildsage.contract import builtins

    return _beginning(builtins.installed(), incomplete)


def channel(ctx: Context, incomplete: str) -> list[str]:
    """Channels of the algorithm that stands before, with "=" after them."""
    from wildsage.cli.arguments import channels_of

    facts = _facts(ctx)
    return [f"{each}=" for each in _beginning(channels_of(facts), incomplete)] if facts else []


def hyperparameter(ctx: Context, incomplete: str) -> list[str]:
    """Its hyperparameters, with "=" after them; behind that the values, where they are words."""
    from wildsage.cli.arguments import hyperparameters_of

    facts = _facts(ctx)
    if facts is None:
        return []
    name, equals, value = incomplete.partition("=")
    if not equals:
        return [f"{each}=" for each in _beginning(hyperparameters_of(facts), incomplete)]
    fact = next((each for each in facts.hyperparameters if name in (each.name, *each.aliases)), None)
    if fact is None:
        return []
    words = ("True", "False") if fact.type == "bool" else (*fact.choices, *fact.special_values)
    return [f"{name}={word}" for word in _beginning(map(str, words), value)]


def argument(ctx: Context, incomplete: str) -> list[str]:
    """Either of them."""
    return [*channel(ctx, incomplete), *hyperparameter(ctx, incomplete)]


def _facts(ctx: Context) -> BuiltIn | None:
    from wildsage.platform.algorithms import facts_of

    # Behind an option that has no value yet the arguments are not sorted out.
    named = ctx.params.get("algorithm") or next(iter(ctx.args), "")
    try:
        return facts_of(str(named))
    except (WildsageError, OSError):
        return None


def job(incomplete: str) -> list[str]:
    return _beginning(_jobs(), incomplete)


def endpoint(incomplete: str) -> list[str]:
    return _beginning(_endpoints(), incomplete)


def model_or_job(incomplete: str) -> list[str]:
    return _beginning([*_models(), *_jobs()], incomplete)


def endpoint_or_job(incomplete: str) -> list[str]:
    return _beginning([*_endpoints(), *_jobs()], incomplete)


def job_or_endpoint(incomplete: str) -> list[str]:
    return _beginning([*_jobs(), *_endpoints()], incomplete)


def anything(incomplete: str) -> list[str]:
    return _beginning([*_endpoints(), *_models(), *_jobs()], incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _jobs() -> list[str]:
    return _names("list_training_jobs", "TrainingJobSummaries", "TrainingJobName")


def _endpoints() -> list[str]:
    return _names("list_endpoints", "Endpoints", "EndpointName")


def _models() -> list[str]:
    return _names("list_models", "Models", "ModelName")


def _names(operation: str, key: str, name: str) -> list[str]:
    from wildsage.platform.service import Platform

    try:
        with Platform() as platform:
            return [str(summary[name]) for summary in clients.listed(getattr(platform, operation), key)]
    except (WildsageError, OSError):
        return []
