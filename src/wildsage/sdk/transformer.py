"""Transformer: runs a model over files, record by record, without an endpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from wildsage.sdk import locations
from wildsage.sdk.exceptions import ArgumentError, one_of, unsupported
from wildsage.sdk.job import TransformJob
from wildsage.sdk.names import Tags, base_from_name, filled, format_tags, name_from_base
from wildsage.sdk.session import Session


class Transformer:
    """Runs batch transform jobs over one model."""

    def __init__(
        self,
        model_name: str,
        instance_count: int,
        instance_type: str,
        strategy: str | None = None,
        assemble_with: str | None = None,
        output_path: str | os.PathLike[str] | None = None,
        output_kms_key: str | None = None,
        accept: str | None = None,
        max_concurrent_transforms: int | None = None,
        max_payload: int | None = None,
        tags: Tags | None = None,
        env: Mapping[str, str] | None = None,
        base_transform_job_name: str | None = None,
        sagemaker_session: Session | None = None,
        volume_kms_key: str | None = None,
    ) -> None:
        """output_path: a folder or URL; a folder of the home, named after the job, when absent.

        strategy: MultiRecord (as many records a request as fit in max_payload MB) or SingleRecord.
        assemble_with: Line or None. accept: the content type of the results.
        """
        if strategy is not None:
            one_of("strategy", strategy, ["MultiRecord", "SingleRecord"])
        if assemble_with is not None:
            one_of("assemble_with", assemble_with, ["Line", "None"])
        self.model_name = model_name
        self.instance_count = instance_count
        self.instance_type = instance_type
        self.strategy = strategy
        self.assemble_with = assemble_with
        self.output_path = None if output_path is None else locations.target(output_path)
        self.output_kms_key = output_kms_key
        self.accept = accept
        self.max_concurrent_transforms = max_concurrent_transforms
        self.max_payload = max_payload
        self.tags = format_tags(tags)
        self.env = dict(env) if env else None
        self.base_transform_job_name = base_transform_job_name
        self.sagemaker_session = sagemaker_session or Session()
        self.volume_kms_key = volume_kms_key
        self.latest_transform_job: TransformJob | None = None
        self._own_output_path = output_path is not None

    def transform(
        self,
        data: str | os.PathLike[str],
        data_type: str = "S3Prefix",
        content_type: str | None = None,
        compression_type: str | None = None,
        split_type: str | None = None,
        job_name: str | None = None,
        input_filter: str | None = None,
        output_filter: str | None = None,
        join_source: str | None = None,
        experiment_config: dict[str, str] | None = None,
        model_client_config: dict[str, Any] | None = None,
        batch_data_capture_config: Any = None,
        wait: bool = True,
        logs: bool = True,
    ) -> None:
        """Run the model over a file or all files of a folder; each result is <output path>/<file>.out.

        data: a path or URL. split_type: Line (each line is a record), RecordIO, TFRecord or None (a file is one).
        input_filter, output_filter: JSONPath of what the model sees and of what is kept; join_source: Input joins each
        result to its record. wait: until it has ended, with its log unless logs=False.
        Raises UnexpectedStatusException with the reason if it has failed.
        """
        one_of("data_type", data_type, ["S3Prefix", "ManifestFile"])
        if split_type is not None:
            one_of("split_type", split_type, ["None", "Line", "RecordIO", "TFRecord"])
        if compression_type is not None:
            one_of("compression_type", compression_type, ["None", "Gzip"])
        if join_source is not None:
            one_of("join_source", join_source, ["None", "Input"])
        if batch_data_capture_config is not None:
            unsupported("batch_data_capture_config", "Transform jobs capture nothing.")
        session = self.sagemaker_session
        place = locations.source(data, session, "data")
        name = job_name or name_from_base(self.base_transform_job_name or base_from_name(self.model_name))
        if not self._own_output_path:
            self.output_path = session.output_folder(name)
        processing = filled(InputFilter=input_filter, OutputFilter=output_filter, JoinSource=join_source)
        session.transform(
            job_name=name,
            model_name=self.model_name,
            strategy=self.strategy,
            max_concurrent_transforms=self.max_concurrent_transforms,
            max_payload=self.max_payload,
            input_config={
                "DataSource": {"S3DataSource": {"S3DataType": data_type, "S3Uri": place}},
                **filled(ContentType=content_type, CompressionType=compression_type, SplitType=split_type),
            },
            output_config={
                "S3OutputPath": self.output_path,
                **filled(KmsKeyId=self.output_kms_key, AssembleWith=self.assemble_with, Accept=self.accept),
            },
            resource_config={
                "InstanceCount": self.instance_count,
                "InstanceType": self.instance_type,
                **filled(VolumeKmsKeyId=self.volume_kms_key),
            },
            experiment_config=experiment_config,
            env=self.env,
            tags=self.tags,
            data_processing=processing or None,
            model_client_config=model_client_config,
        )
        self.latest_transform_job = TransformJob(session, name)
        if wait:
            self.latest_transform_job.wait(logs=logs)

    def wait(self, logs: bool = True) -> None:
        """Wait until the latest job has ended."""
        self._latest().wait(logs=logs)

    def stop_transform_job(self, wait: bool = True) -> None:
        """Stop the latest job; with wait, until it has stopped."""
        self._latest().stop()
        if wait:
            self._latest().wait(logs=False)

    def delete_model(self) -> None:
        """Forget the model's record. Its model.tar.gz stays."""
        self.sagemaker_session.delete_model(self.model_name)

    def _latest(self) -> TransformJob:
        if self.latest_transform_job is None:
            raise ArgumentError("there is no job yet: call transform first")
        return self.latest_transform_job

    @classmethod
    def attach(cls, transform_job_name: str, sagemaker_session: Session | None = None) -> Transformer:
        """Return a Transformer with the settings of a job, and that job as its latest."""
        session = sagemaker_session or Session()
        job = session.describe_transform_job(transform_job_name)
        output, resources = job["TransformOutput"], job["TransformResources"]
        transformer = cls(
            job["ModelName"],
            resources["InstanceCount"],
            resources["InstanceType"],
            strategy=job.get("BatchStrategy"),
            assemble_with=output.get("AssembleWith"),
            output_path=output["S3OutputPath"],
            output_kms_key=output.get("KmsKeyId"),
            accept=output.get("Accept"),
            max_concurrent_transforms=job.get("MaxConcurrentTransforms"),
            max_payload=job.get("MaxPayloadInMB"),
            env=job.get("Environment"),
            base_transform_job_name=base_from_name(transform_job_name),
            sagemaker_session=session,
            volume_kms_key=resources.get("VolumeKmsKeyId"),
        )
        transformer.latest_transform_job = TransformJob(session, transform_job_name)
        return transformer
