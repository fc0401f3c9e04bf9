"""Descriptions of input data: training channels and batch transform input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wildsage.sdk.exceptions import ArgumentError, one_of
from wildsage.sdk.names import filled

FILE_SYSTEM_TYPES = ["FSxLustre", "EFS"]
FILE_SYSTEM_ACCESS_MODES = ["ro", "rw"]


class TrainingInput:
    """One channel of a training job. config: the channel as CreateTrainingJob takes it, without its name."""

    def __init__(
        self,
        s3_data: str | os.PathLike[str],
        distribution: str | None = None,
        compression: str | None = None,
        content_type: str | None = None,
        record_wrapping: str | None = None,
        s3_data_type: str = "S3Prefix",
        instance_groups: Sequence[str] | None = None,
        input_mode: str | None = None,
        attribute_names: Sequence[str] | None = None,
        target_attribute_name: str | None = None,
        shuffle_config: ShuffleConfig | None = None,
        hub_access_config: dict[str, Any] | None = None,
        model_access_config: dict[str, Any] | None = None,
    ) -> None:
        """s3_data: a path, a folder, file://…, s3://… or another fsspec URL.

        distribution: FullyReplicated (every machine sees every file) or ShardedByS3Key (files are dealt out).
        compression: Gzip. record_wrapping: RecordIO. input_mode: File, FastFile or Pipe, over the estimator's.
        s3_data_type: S3Prefix, or ManifestFile or AugmentedManifestFile, where s3_data is the manifest;
        attribute_names: the attributes of an augmented manifest that the algorithm sees.
        hub_access_config and model_access_config are recorded, and mean nothing here.
        Raises ArgumentError on a word that is not one of these.
        """
        one_of("s3_data_type", s3_data_type, ["S3Prefix", "ManifestFile", "AugmentedManifestFile", "Converse"])
        if distribution is not None:
            one_of("distribution", distribution, ["FullyReplicated", "ShardedByS3Key"])
        if compression is not None:
            one_of("compression", compression, ["Gzip", "None"])
        if record_wrapping is not None:
            one_of("record_wrapping", record_wrapping, ["RecordIO", "None"])
        if input_mode is not None:
            one_of("input_mode", input_mode, ["File", "FastFile", "Pipe"])
        if distribution is None and not target_attribute_name:
            distribution = "FullyReplicated"
        self.config: dict[str, Any] = {
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": s3_data_type,
                    "S3Uri": os.fspath(s3_data),
                    **filled(
                        S3DataDistributionType=distribution,
                        InstanceGroupNames=instance_groups,
                        AttributeNames=attribute_names,
                    ),
                }
            },
            **filled(
                CompressionType=compression,
                ContentType=content_type,
                RecordWrapperType=record_wrapping,
                InputMode=input_mode,
                TargetAttributeName=target_attribute_name,
                ShuffleConfig=None if shuffle_config is None else {"Seed": shuffle_config.seed},
            ),
        }
        self.add_hub_access_config(hub_access_config)
        self.add_model_access_config(model_access_config)

    def add_hub_access_config(self, hub_access_config: dict[str, Any] | None = None) -> None:
        """Record a HubAccessConfig in the channel."""
        self.config["DataSource"]["S3DataSource"].update(filled(HubAccessConfig=hub_access_config))

    def add_model_access_config(self, model_access_config: dict[str, Any] | None = None) -> None:
        """Record a ModelAccessConfig in the channel."""
        self.config["DataSource"]["S3DataSource"].update(filled(ModelAccessConfig=model_access_config))

    def __repr__(self) -> str:
        return f"TrainingInput({self.config['DataSource']['S3DataSource']['S3Uri']!r})"


class ShuffleConfig:
    """Shuffles the order of files, of manifest lines and of Pipe mode's objects. An embedded session refuses it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed


class FileSystemInput:
    """A channel from a cloud file system. It can be described, but not be read here: see `fit`."""

    def __init__(
        self,
        file_system_id: str,
        file_system_type: str,
        directory_path: str,
        file_system_access_mode: str = "ro",
        content_type: str | None = None,
    ) -> None:
        """file_system_type: FSxLustre or EFS. file_system_access_mode: ro or rw."""
        one_of("file_system_type", file_system_type, FILE_SYSTEM_TYPES)
        one_of("file_system_access_mode", file_system_access_mode, FILE_SYSTEM_ACCESS_MODES)
        self.config: dict[str, Any] = {
            "DataSource": {
                "FileSystemDataSource": {
                    "FileSystemId": file_system_id,
                    "FileSystemType": file_system_type,
                    "DirectoryPath": directory_path,
                    "FileSystemAccessMode": file_system_access_mode,
                }
            },
            **filled(ContentType=content_type),
        }


@dataclass
class CreateModelInput:
    """Arguments of a CreateModel step."""

    instance_type: str | None = None
    accelerator_type: str | None = None


@dataclass
class TransformInput:
    """Arguments of `Transformer.transform` in one object: `transformer.transform(**vars(transform_input))`."""

    data: str
    data_type: str = "S3Prefix"
    content_type: str | None = None
    compression_type: str | None = None
    split_type: str | None = None
    input_filter: str | None = None
    output_filter: str | None = None
    join_source: str | None = None
    model_client_config: dict[str, Any] | None = None
    batch_data_capture_config: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.data:
            raise ArgumentError("data is empty: a path, or a URL such as s3://bucket/prefix")
