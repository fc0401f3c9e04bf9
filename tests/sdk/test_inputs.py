from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wildsage.sdk.exceptions import ArgumentError
from wildsage.sdk.inputs import FileSystemInput, ShuffleConfig, TrainingInput, TransformInput


def test_a_channel_with_everything() -> None:
    found = TrainingInput(
        "s3://bucket/x",
        distribution="ShardedByS3Key",
        compression="Gzip",
        content_type="application/jsonlines",
        record_wrapping="RecordIO",
        s3_data_type="AugmentedManifestFile",
        instance_groups=["a"],
        input_mode="Pipe",
        attribute_names=["source", "label"],
        target_attribute_name="label",
        shuffle_config=ShuffleConfig(7),
        hub_access_config={"HubContentArn": "arn"},
        model_access_config={"AcceptEula": True},
    )
    assert found.config == {
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "AugmentedManifestFile",
                "S3Uri": "s3://bucket/x",
                "S3DataDistributionType": "ShardedByS3Key",
                "InstanceGroupNames": ["a"],
                "AttributeNames": ["source", "label"],
                "HubAccessConfig": {"HubContentArn": "arn"},
                "ModelAccessConfig": {"AcceptEula": True},
            }
        },
        "CompressionType": "Gzip",
        "ContentType": "application/jsonlines",
        "RecordWrapperType": "RecordIO",
        "InputMode": "Pipe",
        "TargetAttributeName": "label",
        "ShuffleConfig": {"Seed": 7},
    }


def test_the_least_channel_and_a_path() -> None:
    assert TrainingInput(Path("a/b")).config == {
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": "a/b",
                "S3DataDistributionType": "FullyReplicated",
            }
        }
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"distribution": "Sharded"},
            "distribution = 'Sharded' is not allowed: one of FullyReplicated, ShardedByS3Key",
        ),
        ({"input_mode": "fastfile"}, 'did you mean "FastFile"'),
        ({"s3_data_type": "S3prefix"}, 'did you mean "S3Prefix"'),
        ({"compression": "gz"}, "one of Gzip, None"),
        ({"record_wrapping": "x"}, "one of RecordIO, None"),
    ],
)
def test_words_that_are_not_allowed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        TrainingInput("x", **arguments)


def test_file_systems_are_described() -> None:
    found = FileSystemInput("fs-1", "EFS", "/data", content_type="text/csv")
    assert found.config["DataSource"]["FileSystemDataSource"]["FileSystemAccessMode"] == "ro"
    assert found.config["ContentType"] == "text/csv"
    with pytest.raises(ArgumentError, match="file_system_type"):
        FileSystemInput("fs-1", "NFS", "/data")


def test_a_transform_input_needs_data() -> None:
    assert TransformInput("x").data_type == "S3Prefix"
    with pytest.raises(ArgumentError, match="data is empty"):
        TransformInput("")
