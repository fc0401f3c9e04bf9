"""Which state may follow which."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from wildsage.contract.errors import AlgorithmError
from wildsage.platform.names import Kind


class Status(StrEnum):
    """The states of every kind, in the service's spelling."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    DELETING = "Deleting"
    CREATING = "Creating"
    IN_SERVICE = "InService"
    SYSTEM_UPDATING = "SystemUpdating"
    NONE = "None"  # kinds that have no state: models and endpoint configurations


class Secondary(StrEnum):
    """SecondaryStatus of a training job."""

    STARTING = "Starting"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    UPLOADING = "Uploading"
    STOPPING = "Stopping"
    RESTARTING = "Restarting"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"
    MAX_RUNTIME_EXCEEDED = "MaxRuntimeExceeded"


MESSAGES = {
    Secondary.STARTING: "Starting the training job",
    Secondary.DOWNLOADING: "Placing the input data",
    Secondary.TRAINING: "Training program is running",
    Secondary.UPLOADING: "Writing the model",
    Secondary.STOPPING: "Stopping the training job",
    Secondary.RESTARTING: "Starting again from the last checkpoint",
    Secondary.COMPLETED: "Training job completed",
    Secondary.FAILED: "Training job failed",
    Secondary.STOPPED: "Training job stopped",
    Secondary.MAX_RUNTIME_EXCEEDED: "Training job reached its maximum run time and was stopped",
}

_JOB: Mapping[Status, frozenset[Status]] = {
    Status.IN_PROGRESS: frozenset({Status.COMPLETED, Status.FAILED, Status.STOPPING, Status.STOPPED}),
    # A job may end by itself before the request to stop reaches it.
    Status.STOPPING: frozenset({Status.STOPPED, Status.COMPLETED, Status.FAILED}),
    Status.COMPLETED: frozenset({Status.DELETING}),
    Status.FAILED: frozenset({Status.DELETING}),
    Status.STOPPED: frozenset({Status.DELETING}),
    Status.DELETING: frozenset(),
}
FOLLOWING: Mapping[Kind, Mapping[Status, frozenset[Status]]] = {
    Kind.TRAINING_JOB: _JOB,
    Kind.TRANSFORM_JOB: _JOB,
    Kind.ENDPOINT: {
        Status.CREATING: frozenset({Status.IN_SERVICE, Status.FAILED, Status.DELETING}),
        Status.IN_SERVICE: frozenset({Status.SYSTEM_UPDATING, Status.FAILED, Status.DELETING}),
        Status.SYSTEM_UPDATING: frozenset({Status.IN_SERVICE, Status.FAILED, Status.DELETING}),
        Status.FAILED: frozenset({Status.DELETING}),
        Status.DELETING: frozenset(),
    },
    Kind.MODEL: {Status.NONE: frozenset()},
    Kind.ENDPOINT_CONFIG: {Status.NONE: frozenset()},
}
# A record in one of these has nothing behind it that runs or is owed.
SETTLED: Mapping[Kind, frozenset[Status]] = {
    Kind.TRAINING_JOB: frozenset({Status.COMPLETED, Status.FAILED, Status.STOPPED}),
    Kind.TRANSFORM_JOB: frozenset({Status.COMPLETED, Status.FAILED, Status.STOPPED}),
    Kind.ENDPOINT: frozenset({Status.FAILED}),
    Kind.MODEL: frozenset({Status.NONE}),
    Kind.ENDPOINT_CONFIG: frozenset({Status.NONE}),
}


def check_step(kind: Kind, old: Status, new: Status) -> None:
    """Raise AlgorithmError for a change of state that the kind does not have."""
    if new is not old and new not in FOLLOWING[kind][old]:
        allowed = ", ".join(sorted(FOLLOWING[kind][old])) or "nothing, it is final"
        raise AlgorithmError(f"a {kind.words} cannot go from {old} to {new}: {allowed} may follow")
