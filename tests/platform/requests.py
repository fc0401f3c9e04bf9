"""Requests that the tests make."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def channel(path: Path, name: str = "train", **more: Any) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": str(path)}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **more}


def job_request(name: str, path: Path, **more: Any) -> dict[str, Any]:
    values = {"rounds": "1", **more.pop("hyperparameters", {})}
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {"TrainingImage": "counting", "TrainingInputMode": "File"},
        "HyperParameters": values,
        "InputDataConfig": [channel(path)],
        **more,
    }
