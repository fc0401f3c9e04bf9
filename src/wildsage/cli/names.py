"""The shell's completion of names. It must never fail: no suggestion is better than an error on the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wildsage.cli import clients
from wildsage.contract.errors import WildsageError

if TYPE_CHECKING:
    from collections.abc import Iterable


def algorithm(incomplete: str) -> list[str]:
    from wildsage.contract import builtins

    return _beginning(builtins.installed(), incomplete)


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
