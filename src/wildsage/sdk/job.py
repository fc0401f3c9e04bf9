"""What training and transform jobs have in common: the parts of their requests, and a handle on one job."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildsage.contract import builtins
from wildsage.contract.errors import ClientError
from wildsage.sdk import locations
from wildsage.sdk.exceptions import ArgumentError, one_of, unsupported
from wildsage.sdk.inputs import FileSystemInput, TrainingInput
from wildsage.sdk.logs import Description, say

if TYPE_CHECKING:
    from wildsage.sdk.session import Session

Inputs = (
    str | os.PathLike[str] | TrainingInput | FileSystemInput
    | Mapping[str, str | os.PathLike[str] | TrainingInput | FileSystemInput]
)  # fmt: skip


def single_channel(image_uri: str) -> str:
    """The channel that an input without a name goes to.

    SageMaker's SDK says `training`, a name that its own built-ins refuse: theirs is `train`, and so it is here.
    """
    try:
        return "train" if builtins.resolve(image_uri) else "training"
    except ClientError:
        return "training"


def channels(inputs: Inputs | None, image_uri: str, session: Session) -> list[dict[str, Any]] | None:
    """Return InputDataConfig. Raises ArgumentError that names the channel for what cannot be read."""
    if inputs is None:
        return None
    named = inputs if isinstance(inputs, Mapping) else {single_channel(image_uri): inputs}
    return [channel(name, value, session) for name, value in named.items()]


def channel(
    name: str, value: Any, session: Session, *, content_type: str | None = None, input_mode: str | None = None
) -> dict[str, Any]:
    """Return one member of InputDataConfig. value: a path, a URL or a TrainingInput."""
    if isinstance(value, FileSystemInput):
        unsupported(
            f'channel "{name}": FileSystemInput', "Mount the file system and give the path of the folder instead."
        )
    if isinstance(value, (str, Path, os.PathLike)):
        value = TrainingInput(value, content_type=content_type, input_mode=input_mode)
    if not isinstance(value, TrainingInput):
        raise ArgumentError(
            f'channel "{name}" can not be a {type(value).__name__}: a path, a URL such as s3://bucket/prefix, '
            "or a TrainingInput"
        )
    found = value.config["DataSource"]["S3DataSource"]
    if found.get("InstanceGroupNames"):
        unsupported(f'channel "{name}": instance_groups', "All machines of a job are of one kind.")
    place = locations.source(found["S3Uri"], session, f'channel "{name}"')
    return {**value.config, "DataSource": {"S3DataSource": {**found, "S3Uri": place}}, "ChannelName": name}


class Job:
    """One job that has been started: its name and how to look at it."""

    def __init__(self, sagemaker_session: Session, job_name: str) -> None:
        self.sagemaker_session = sagemaker_session
        self.job_name = job_name

    @property
    def name(self) -> str:
        return self.job_name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.job_name!r})"


class TrainingJob(Job):
    """A training job."""

    def describe(self) -> Description:
        """DescribeTrainingJob."""
        return self.sagemaker_session.describe_training_job(self.job_name)

    def wait(self, logs: bool | str | None = "All") -> None:
        """Wait until the job has ended, writing its states and log (logs: All, Training), or nothing (None).

        An interrupt (Ctrl-C) ends the waiting, not the job, and says how to go on.
        """
        shown = {True: "All", False: "None", None: "None"}.get(logs, logs) if not isinstance(logs, str) else logs
        one_of("logs", shown, ["All", "Training", "Rules", "None"])
        try:
            if shown == "None":
                self.sagemaker_session.wait_for_job(self.job_name)
            else:
                self.sagemaker_session.logs_for_job(self.job_name, wait=True, log_type=str(shown))
        except KeyboardInterrupt:
            say(
                f"\nNo longer waiting; the training job {self.job_name} goes on.\n"
                f'  wait again:  Estimator.attach("{self.job_name}")  or  wildsage logs -f {self.job_name}\n'
                f'  stop it:     Session().stop_training_job("{self.job_name}")  or  wildsage stop {self.job_name}'
            )
            raise

    def stop(self) -> None:
        """Ask the job to stop; the best model so far is kept."""
        self.sagemaker_session.stop_training_job(self.job_name)


class TransformJob(Job):
    """A batch transform job."""

    def describe(self) -> Description:
        """DescribeTransformJob."""
        return self.sagemaker_session.describe_transform_job(self.job_name)

    def wait(self, logs: bool = True) -> None:
        """Wait until the job has ended, with its log or in silence."""
        if logs:
            self.sagemaker_session.logs_for_transform_job(self.job_name, wait=True)
        else:
            self.sagemaker_session.wait_for_transform_job(self.job_name)

    def stop(self) -> None:
        """Ask the job to stop."""
        self.sagemaker_session.stop_transform_job(self.job_name)
