"""Names, ARNs and defaults: what a thing of the control plane is called, and where it lives below the home folder."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from wildsage.contract.errors import ClientError
from wildsage.platform.errors import ServiceError, invalid

ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"
DEFAULT_ROLE = f"arn:aws:iam::{ACCOUNT}:role/wildsage"
VARIANT = "AllTraffic"
_LONGEST_NAME = 63


class Kind(StrEnum):
    """A kind of record; the value is its word in an ARN."""

    TRAINING_JOB = "training-job"
    MODEL = "model"
    ENDPOINT_CONFIG = "endpoint-config"
    ENDPOINT = "endpoint"
    TRANSFORM_JOB = "transform-job"

    @property
    def words(self) -> str:
        """The kind in a sentence: "training job"."""
        return self.value.replace("-", " ")


FOLDERS = {Kind.TRAINING_JOB: "jobs", Kind.ENDPOINT: "endpoints", Kind.TRANSFORM_JOB: "transforms"}


def default_home() -> Path:
    """WILDSAGE_HOME, or ~/.wildsage."""
    return Path(os.environ.get("WILDSAGE_HOME") or Path.home() / ".wildsage").absolute()


def checked_home(home: Path) -> Path:
    """The same folder. Raises ClientError for a name that neither a database nor JSON could keep."""
    try:
        str(home).encode()
    except UnicodeEncodeError as error:
        raise ClientError(f"{str(home)!a} cannot be the home folder: its name is not UTF-8") from error
    return home


def default_region() -> str:
    """AWS_REGION, AWS_DEFAULT_REGION or us-east-1, as boto3 would look."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION


def default_bucket(region: str) -> str:
    return f"sagemaker-{region}-{ACCOUNT}"


def arn(kind: Kind, name: str, region: str) -> str:
    return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind.value}/{name}"


def role_arn(role: str | None) -> str:
    """The role as an ARN: one that is an ARN stays, a bare name becomes one, none is ours."""
    if not role:
        return DEFAULT_ROLE
    return role if role.startswith("arn:") else f"arn:aws:iam::{ACCOUNT}:role/{role}"


@dataclass(frozen=True)
class ParsedArn:
    kind: Kind
    name: str


def parse_arn(text: str, *, operation: str = "") -> ParsedArn:
    """Kind and name out of an ARN. Raises ServiceError for one that is not of a kind that is kept here."""
    place, _, name = text.rpartition(":")[2].partition("/")
    kinds = {kind.value: kind for kind in Kind}
    if not text.startswith("arn:") or place not in kinds or not name:
        raise invalid(
            f'ResourceArn = "{text}" is not allowed: arn:aws:sagemaker:<region>:{ACCOUNT}:<kind>/<name>, '
            f"kind one of {', '.join(kinds)}",
            operation=operation,
        )
    return ParsedArn(kinds[place], name)


def generated(base: str) -> str:
    """A name that no other has: the base, the time to the second, and eight random hexadecimal digits."""
    tail = time.strftime("-%Y-%m-%d-%H-%M-%S-") + uuid4().hex[:8]
    return base[: _LONGEST_NAME - len(tail)].rstrip("-") + tail


def taken(kind: Kind, name: str, arn_: str, *, operation: str = "") -> ServiceError:
    """The error for a name that is in use. Clients look into these texts, so they stay as the service has them."""
    if kind is Kind.TRAINING_JOB:
        text = f"Training job names must be unique within an AWS account and region: {name} is in use ({arn_})."
        return ServiceError("ResourceInUse", text, operation=operation)
    if kind is Kind.TRANSFORM_JOB:
        text = f"Transform job names must be unique within an AWS account and region: {name} is in use ({arn_})."
        return ServiceError("ResourceInUse", text, operation=operation)
    return invalid(f'Cannot create already existing {kind.words} "{arn_}".', operation=operation)


def missing(kind: Kind, name: str, arn_: str, near: str = "", *, operation: str = "") -> ServiceError:
    """The error for a name that nothing has; the same holds. `near` is a hint such as '; did you mean "x"?'."""
    if kind in (Kind.TRAINING_JOB, Kind.TRANSFORM_JOB):
        return invalid(f"Requested resource not found. There is no {kind.words} {name}{near}", operation=operation)
    return invalid(f'Could not find {kind.words} "{arn_}"{near}', operation=operation)
