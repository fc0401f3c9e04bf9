"""For the tests that kill: do one thing of the platform in a process that kills itself at a named step of it.

The function of the step is patched, so that it ends its process before or after it did its work. The hooks here do the
same in a supervisor's process.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.platform.requests import job_request
from wildsage.engines.base import Ending
from wildsage.engines.local import LocalEngine
from wildsage.platform import artifacts, jobs, runs, training_jobs
from wildsage.platform.context import Context
from wildsage.platform.endpoints import Endpoints
from wildsage.platform.jobs import Jobs
from wildsage.platform.service import Platform
from wildsage.platform.store import Store


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        function(*args, **kwargs)
        die()

    return wrapped


STEPS: dict[str, tuple[Any, str, Callable[[Any], Any]]] = {
    "before the record": (Context, "insert", lambda _: die),
    "after the record": (Context, "insert", after),
    "after the job's folder": (Jobs, "_new_folder", after),
    "after the endpoint's folder": (Endpoints, "_new_folder", after),
    "before the start": (LocalEngine, "start", lambda _: die),
    "after the start": (LocalEngine, "start", after),
    "before the ending": (runs, "write_ending", lambda _: die),
    "before the model": (artifacts, "publish", lambda _: die),
    "after the model": (artifacts, "publish", after),
    "before it is remembered": (artifacts, "remember", lambda _: die),
    "before the outcome": (runs.Outcome, "write", lambda _: die),
    "after the outcome": (runs.Outcome, "write", after),
    "before the outcome's record": (jobs, "record_outcome", lambda _: die),
    "after the outcome's record": (jobs, "record_outcome", after),
    "before the change of state": (Store, "change", lambda _: die),
    "after the change of state": (Store, "change", after),
    "after the stop": (LocalEngine, "stop", after),
    "before the folder goes": (runs, "remove", lambda _: die),
    "while the folder goes": (shutil, "rmtree", lambda _: die),
    "after the folder has gone": (runs, "remove", after),
    "after the record has gone": (Store, "delete", after),
}


def arm(step: str) -> None:
    owner, name, patch = STEPS[step]
    setattr(owner, name, patch(getattr(owner, name)))


def finish(folder: Path, ending: Ending) -> None:
    """The finish hook of a training job whose supervisor dies at the step named in its environment."""
    arm((folder / "kill-at").read_text())
    training_jobs.finish(folder, ending)


def act(step: str, action: str, home: Path, name: str, path: Path) -> None:
    """Do one thing of the platform; the process ends at the step."""
    with Platform(home) as platform:
        arm(step)
        if action == "train":
            platform.create_training_job(**job_request(name, path))
        elif action == "deploy":
            platform.create_endpoint(EndpointName=name, EndpointConfigName=name)
        elif action == "delete endpoint":
            platform.delete_endpoint(EndpointName=name)
        elif action == "delete job":
            platform.delete_training_job(TrainingJobName=name)
        elif action == "stop":
            platform.stop_training_job(TrainingJobName=name)
        elif action == "describe":
            platform.describe_training_job(TrainingJobName=name)
