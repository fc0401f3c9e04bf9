"""Session: what estimators, models and predictors talk through.

By default the session is embedded: its clients are the platform of this process, its state one folder
(`WILDSAGE_HOME`, or ~/.wildsage). Given boto3 clients or a boto3 session, it is remote, and sends them the same calls.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wildsage.platform import names
from wildsage.sdk import logs
from wildsage.sdk.buckets import Buckets, FolderBuckets, S3Buckets
from wildsage.sdk.exceptions import ArgumentError, CapacityError, UnexpectedStatusException, one_of, unsupported
from wildsage.sdk.logs import Description, LogReader, say
from wildsage.sdk.names import Tags, filled, format_tags, name_from_base, name_from_image

logger = logging.getLogger(__name__)

EMBEDDED_POLL_S = 0.03
_TRAINING_LOGS = "/aws/sagemaker/TrainingJobs"
_TRANSFORM_LOGS = "/aws/sagemaker/TransformJobs"

# One platform a home folder: sessions are made freely (each estimator without one makes its own), and share it.
_platforms: dict[Path, Any] = {}


def _platform(home: Path) -> Any:
    platform = _platforms.get(home)
    if platform is None:
        from wildsage.platform.service import Platform

        platform = _platforms[home] = Platform(home)
        atexit.register(platform.close)
    return platform


class EmbeddedClients:
    """What an embedded session has in the place of a boto3 session: the platform's clients, by boto3's names."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def region_name(self) -> str:
        return names.default_region()

    def client(self, service_name: str, *_: Any, **__: Any) -> Any:
        """Return the platform's client of a service. Raises NotSupportedError for a service that it has not."""
        platform = self._session.sagemaker_client
        members = {
            "sagemaker": platform,
            "sagemaker-runtime": platform.runtime,
            "logs": platform.logs,
            "cloudwatch": platform.cloudwatch,
        }
        if service_name not in members:
            unsupported(
                f'boto_session.client("{service_name}") of an embedded session',
                f"There are {', '.join(members)}; files go through upload_data and download_data.",
            )
        return members[service_name]


class Session:
    """Jobs, models, endpoints and files, for whoever trains and deploys."""

    def __init__(
        self,
        boto_session: Any = None,
        sagemaker_client: Any = None,
        sagemaker_runtime_client: Any = None,
        sagemaker_featurestore_runtime_client: Any = None,
        default_bucket: str | None = None,
        settings: Any = None,
        sagemaker_metrics_client: Any = None,
        sagemaker_config: dict[str, Any] | None = None,
        default_bucket_prefix: str | None = None,
        *,
        home: str | os.PathLike[str] | None = None,
    ) -> None:
        """Without boto_session and sagemaker_client: embedded. home: its state's folder instead of the default one.

        sagemaker_client: boto3's client, or a Platform. settings and sagemaker_config are kept, and mean nothing here.
        """
        if sagemaker_featurestore_runtime_client is not None or sagemaker_metrics_client is not None:
            unsupported("A feature store or metrics client")
        if home is not None and (boto_session is not None or sagemaker_client is not None):
            raise ArgumentError("home belongs to an embedded session; leave out boto_session and sagemaker_client")
        self._home = names.default_home() if home is None else Path(home).expanduser().absolute()
        self._files: Buckets | None = None
        self._boto_session = boto_session
        self._client = sagemaker_client
        self._runtime = sagemaker_runtime_client
        self._default_bucket = default_bucket
        self.default_bucket_prefix = default_bucket_prefix
        self.settings = settings
        self.config = sagemaker_config
        # A Platform can tell the address of an endpoint; boto3's client cannot.
        self.embedded = (
            hasattr(sagemaker_client, "endpoint_url") if sagemaker_client is not None else boto_session is None
        )
        self.local_mode = False  # SageMaker's Docker mode; here every session runs where it is

    # -- clients --

    @property
    def sagemaker_client(self) -> Any:
        """The control plane: boto3's `sagemaker` client or the platform."""
        if self._client is None:
            self._client = _platform(self._home) if self.embedded else self.boto_session.client("sagemaker")
        return self._client

    @property
    def sagemaker_runtime_client(self) -> Any:
        """What asks endpoints: boto3's `sagemaker-runtime` client or the platform's runtime."""
        if self._runtime is None:
            self._runtime = self.boto_session.client("sagemaker-runtime")
        return self._runtime

    @property
    def boto_session(self) -> Any:
        """The boto3 session, or for an embedded session an object with `client(name)` and `region_name`."""
        if self._boto_session is None:
            if self.embedded:
                self._boto_session = EmbeddedClients(self)
            else:
                import boto3

                self._boto_session = boto3.Session(region_name=self._client.meta.region_name)
        return self._boto_session

    @property
    def boto_region_name(self) -> str:
        """The region: recorded and part of names; nothing here depends on it."""
        return str(self.boto_session.region_name or names.default_region())

    def account_id(self) -> str:
        """The account: twelve zeros when embedded."""
        if self.embedded:
            return names.ACCOUNT
        return str(self.boto_session.client("sts").get_caller_identity()["Account"])

    def get_caller_identity_arn(self) -> str:
        """The role that jobs are recorded with."""
        if self.embedded:
            return names.DEFAULT_ROLE
        arn = str(self.boto_session.client("sts").get_caller_identity()["Arn"])
        if ":assumed-role/" not in arn:
            return arn
        role = arn.split(":assumed-role/", 1)[1].split("/", 1)[0]
        return str(self.boto_session.client("iam").get_role(RoleName=role)["Role"]["Arn"])

    def expand_role(self, role: str) -> str:
        """Return the ARN of a role given by name or ARN."""
        if "/" in role:
            return role
        if self.embedded:
            return names.role_arn(role)
        return str(self.boto_session.client("iam").get_role(RoleName=role)["Role"]["Arn"])

    def endpoint_url(self, endpoint_name: str) -> str:
        """The address to POST requests for an endpoint to."""
        if self.embedded:
            return str(self.sagemaker_client.endpoint_url(endpoint_name))
        return f"{self.sagemaker_runtime_client.meta.endpoint_url}/endpoints/{endpoint_name}/invocations"

    def output_folder(self, name: str = "") -> str:
        """Where results go by default: a folder of the home, or for a remote session the default bucket."""
        if self.embedded:
            return str(Path(self.sagemaker_client.home) / "artifacts" / name)
        return f"s3://{self.default_bucket()}/{name}"

    def close(self) -> None:
        """Give up an embedded session's connections; jobs and endpoints go on, and so can the session."""
        if self.embedded and self._client is not None:
            self._client.close()

    # -- files --

    @property
    def _buckets(self) -> Buckets:
        if self._files is None:
            if self.embedded:
                self._files = FolderBuckets(Path(self.sagemaker_client.home) / "buckets")
            else:
                self._files = S3Buckets(self.boto_session.client("s3"), self.boto_region_name)
        return self._files

    def default_bucket(self) -> str:
        """The name of the bucket for files that belong nowhere else; it is made if it is not there."""
        if self._default_bucket is None:
            self._default_bucket = names.default_bucket(self.boto_region_name, self.account_id())
        self._buckets.make(self._default_bucket)
        return self._default_bucket

    def _bucket_and_prefix(self, bucket: str | None, key_prefix: str) -> tuple[str, str]:
        """The default bucket's own prefix comes before every key in it, unless a bucket is named."""
        if bucket is not None:
            return bucket, key_prefix
        return self.default_bucket(), "/".join(part for part in (self.default_bucket_prefix, key_prefix) if part)

    def upload_data(
        self,
        path: str | os.PathLike[str],
        bucket: str | None = None,
        key_prefix: str = "data",
        callback: Any = None,
        extra_args: dict[str, Any] | None = None,
    ) -> str:
        """Put a file, or a folder's files, into a bucket; return the s3:// URI of the file or of the folder.

        An embedded session keeps a bucket as a folder, <home>/buckets/<bucket>; each file appears there whole or not at
        all. extra_args and callback are for S3.
        """
        origin = Path(path).expanduser()
        if not origin.exists():
            raise ArgumentError(f"there is no file or folder at {origin.absolute()}")
        bucket, key_prefix = self._bucket_and_prefix(bucket, key_prefix)
        prefix = key_prefix.strip("/")
        files = [origin] if origin.is_file() else sorted(file for file in origin.rglob("*") if file.is_file())
        base = origin.parent if origin.is_file() else origin
        for file in files:
            key = "/".join(part for part in (prefix, file.relative_to(base).as_posix()) if part)
            self._buckets.put(file, bucket, key, extra_args, callback)
        return "/".join(part for part in (f"s3://{bucket}", prefix, origin.name if origin.is_file() else "") if part)

    def upload_string_as_file_body(self, body: str | bytes, bucket: str, key: str, kms_key: str | None = None) -> str:
        """Write text or bytes to a bucket's file; return its s3:// URI."""
        data = body.encode() if isinstance(body, str) else body
        self._buckets.write(data, bucket, key, kms_key)
        return f"s3://{bucket}/{key}"

    def download_data(
        self,
        path: str | os.PathLike[str],
        bucket: str,
        key_prefix: str = "",
        extra_args: dict[str, Any] | None = None,
    ) -> list[str]:
        """Copy the bucket's files whose keys begin with the prefix below a folder; return the paths of the copies.

        Of a prefix that is a folder, only what is in it comes, with its names below it: "data" is not "database". Of
        one that is a file, or ends inside a name, the names in its folder stay.
        """
        folder = Path(path).expanduser().absolute()
        keys = self.list_s3_files(bucket, key_prefix)
        below = f"{key_prefix.rstrip('/')}/" if key_prefix.strip("/") else ""
        inside = [key for key in keys if key.startswith(below)]
        start = len(below) if inside else key_prefix.rfind("/") + 1
        copies: list[str] = []
        for key in inside or keys:
            copy = Path(os.path.normpath(folder / key[start:]))
            if not copy.is_relative_to(folder):
                raise ArgumentError(f'the key "{key}" would be written outside {folder}')
            copy.parent.mkdir(parents=True, exist_ok=True)
            self._buckets.get(bucket, key, copy, extra_args)
            copies.append(str(copy))
        return copies

    def read_s3_file(self, bucket: str, key_prefix: str) -> str:
        """Return a bucket's file as text."""
        return self._buckets.read(bucket, key_prefix).decode()

    def list_s3_files(self, bucket: str, key_prefix: str) -> list[str]:
        """Return the keys of the bucket's files that begin with the prefix, sorted."""
        return self._buckets.keys(bucket, key_prefix)

    # -- training jobs --

    def train(
        self,
        input_mode: str,
        input_config: Sequence[Mapping[str, Any]] | None,
        role: str | None = None,
        job_name: str | None = None,
        output_config: dict[str, Any] | None = None,
        resource_config: dict[str, Any] | None = None,
        vpc_config: dict[str, Any] | None = None,
        hyperparameters: Mapping[str, str] | None = None,
        stop_condition: dict[str, Any] | None = None,
        tags: Tags | None = None,
        metric_definitions: Sequence[Mapping[str, str]] | None = None,
        enable_network_isolation: bool | None = None,
        image_uri: str | None = None,
        training_image_config: dict[str, Any] | None = None,
        infra_check_config: dict[str, Any] | None = None,
        container_entry_point: Sequence[str] | None = None,
        container_arguments: Sequence[str] | None = None,
        algorithm_arn: str | None = None,
        encrypt_inter_container_traffic: bool | None = None,
        use_spot_instances: bool = False,
        checkpoint_s3_uri: str | None = None,
        checkpoint_local_path: str | None = None,
        experiment_config: dict[str, str] | None = None,
        debugger_rule_configs: Any = None,
        debugger_hook_config: dict[str, Any] | None = None,
        tensorboard_output_config: dict[str, Any] | None = None,
        enable_sagemaker_metrics: bool | None = None,
        profiler_rule_configs: Any = None,
        profiler_config: dict[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        retry_strategy: dict[str, int] | None = None,
        remote_debug_config: dict[str, Any] | None = None,
        session_chaining_config: dict[str, Any] | None = None,
    ) -> Any:
        """Send CreateTrainingJob; members that are not set are left out. Returns the client's answer."""
        if (image_uri is None) == (algorithm_arn is None):
            raise ArgumentError("give image_uri or algorithm_arn, and not both")
        checkpoint = None
        if checkpoint_s3_uri:
            checkpoint = {"S3Uri": checkpoint_s3_uri, **filled(LocalPath=checkpoint_local_path)}
        request = {
            "AlgorithmSpecification": {
                "TrainingInputMode": input_mode,
                **filled(
                    TrainingImage=image_uri,
                    AlgorithmName=algorithm_arn,
                    TrainingImageConfig=training_image_config,
                    ContainerEntrypoint=container_entry_point,
                    ContainerArguments=container_arguments,
                    MetricDefinitions=metric_definitions,
                    EnableSageMakerMetricsTimeSeries=enable_sagemaker_metrics,
                ),
            },
            "OutputDataConfig": output_config,
            "TrainingJobName": job_name,
            "StoppingCondition": stop_condition,
            "ResourceConfig": resource_config,
            "RoleArn": role or get_execution_role(self),
            **filled(
                InfraCheckConfig=infra_check_config,
                InputDataConfig=input_config,
                HyperParameters=dict(hyperparameters) if hyperparameters else None,
                Environment=environment,
                Tags=format_tags(tags),
                VpcConfig=vpc_config,
                ExperimentConfig=experiment_config or None,
                EnableNetworkIsolation=enable_network_isolation or None,
                EnableInterContainerTrafficEncryption=encrypt_inter_container_traffic or None,
                EnableManagedSpotTraining=use_spot_instances or None,
                CheckpointConfig=checkpoint,
                DebugRuleConfigurations=debugger_rule_configs,
                DebugHookConfig=debugger_hook_config,
                TensorBoardOutputConfig=tensorboard_output_config,
                ProfilerRuleConfigurations=profiler_rule_configs,
                ProfilerConfig=profiler_config,
                RemoteDebugConfig=remote_debug_config,
                SessionChainingConfig=session_chaining_config,
                RetryStrategy=retry_strategy,
            ),
        }
        logger.info("Creating training-job with name: %s", job_name)
        return self.sagemaker_client.create_training_job(**request)

    def describe_training_job(self, job_name: str) -> Description:
        """DescribeTrainingJob."""
        return dict(self.sagemaker_client.describe_training_job(TrainingJobName=job_name))

    def stop_training_job(self, job_name: str) -> None:
        """Ask a training job to stop; the best model so far is kept. Returns before it has ended."""
        self.sagemaker_client.stop_training_job(TrainingJobName=job_name)

    def _poll_s(self, poll: float | None, remote_s: float) -> float:
        return poll if poll is not None else EMBEDDED_POLL_S if self.embedded else remote_s

    def wait_for_job(self, job: str, poll: float | None = None) -> Description:
        """Wait in silence until a training job has ended; return its description.

        poll: seconds between looks; 0.03 when embedded and 5 when remote by default.
        Raises UnexpectedStatusException if it has failed.
        """
        description = logs.until_final(
            lambda: self.describe_training_job(job), "TrainingJobStatus", poll_s=self._poll_s(poll, 5)
        )
        logs.check("Training", job, description, "TrainingJobStatus")
        _tell_if_stopped(job, description["TrainingJobStatus"])
        return description

    def logs_for_job(
        self,
        job_name: str,
        wait: bool = False,
        poll: float | None = None,
        log_type: str | None = "All",
        timeout: float | None = None,
    ) -> Description:
        """Write a training job's states and log to standard output; with wait, as they come, until it has ended.

        log_type: All, Training, Rules or None (the states alone). poll: as in wait_for_job; 10 when remote by default.
        timeout: seconds after which to stop looking. Raises UnexpectedStatusException if it has failed, with wait.
        """
        one_of("log_type", str(log_type), ["All", "Training", "Rules", "None"])
        reader = None
        if log_type in ("All", "Training"):
            first = self.describe_training_job(job_name)
            count = first["ResourceConfig"].get("InstanceCount") or 1
            reader = LogReader(self.boto_session.client("logs"), _TRAINING_LOGS, job_name, count)
        description = logs.follow(
            lambda: self.describe_training_job(job_name),
            "TrainingJobStatus",
            reader,
            poll_s=self._poll_s(poll, 10),
            wait=wait,
            timeout_s=timeout,
        )
        if wait and description["TrainingJobStatus"] in logs.FINAL:
            logs.check("Training", job_name, description, "TrainingJobStatus")
            _tell_if_stopped(job_name, description["TrainingJobStatus"])
            for title, member in (("Training", "TrainingTimeInSeconds"), ("Billable", "BillableTimeInSeconds")):
                if description.get(member) is not None:
                    say(f"{title} seconds: {description[member] * description['ResourceConfig']['InstanceCount']}")
        return description

    # -- transform jobs --

    def transform(
        self,
        job_name: str,
        model_name: str,
        strategy: str | None,
        max_concurrent_transforms: int | None,
        max_payload: int | None,
        input_config: dict[str, Any],
        output_config: dict[str, Any],
        resource_config: dict[str, Any],
        experiment_config: dict[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        tags: Tags | None = None,
        data_processing: dict[str, Any] | None = None,
        model_client_config: dict[str, Any] | None = None,
        batch_data_capture_config: Any = None,
    ) -> Any:
        """Send CreateTransformJob; members that are not set are left out."""
        if batch_data_capture_config is not None:
            unsupported("batch_data_capture_config", "Transform jobs capture nothing.")
        logger.info("Creating transform job with name: %s", job_name)
        return self.sagemaker_client.create_transform_job(
            TransformJobName=job_name,
            ModelName=model_name,
            TransformInput=input_config,
            TransformOutput=output_config,
            TransformResources=resource_config,
            **filled(
                BatchStrategy=strategy,
                MaxConcurrentTransforms=max_concurrent_transforms,
                MaxPayloadInMB=max_payload,
                Environment=dict(env) if env else None,
                ExperimentConfig=experiment_config or None,
                Tags=format_tags(tags),
                DataProcessing=data_processing,
                ModelClientConfig=model_client_config or None,
            ),
        )

    def describe_transform_job(self, job_name: str) -> Description:
        """DescribeTransformJob."""
        return dict(self.sagemaker_client.describe_transform_job(TransformJobName=job_name))

    def stop_transform_job(self, name: str) -> None:
        """Ask a transform job to stop; one that has ended already is left as it is."""
        try:
            self.sagemaker_client.stop_transform_job(TransformJobName=name)
        except Exception as error:
            if _code(error) != "ValidationException":
                raise
            logger.info("Transform job %s has ended, or is not there: %s", name, error)

    def wait_for_transform_job(self, job: str, poll: float | None = None) -> Description:
        """Wait in silence until a transform job has ended. Raises UnexpectedStatusException if it has failed."""
        description = logs.until_final(
            lambda: self.describe_transform_job(job), "TransformJobStatus", poll_s=self._poll_s(poll, 5)
        )
        logs.check("Transform", job, description, "TransformJobStatus")
        return description

    def logs_for_transform_job(self, job_name: str, wait: bool = False, poll: float | None = None) -> Description:
        """Write a transform job's log to standard output; with wait, as it comes, until the job has ended."""
        count = self.describe_transform_job(job_name)["TransformResources"].get("InstanceCount") or 1
        description = logs.follow(
            lambda: self.describe_transform_job(job_name),
            "TransformJobStatus",
            LogReader(self.boto_session.client("logs"), _TRANSFORM_LOGS, job_name, count),
            poll_s=self._poll_s(poll, 10),
            wait=wait,
        )
        if wait:
            logs.check("Transform", job_name, description, "TransformJobStatus")
        return description

    # -- models --

    def create_model(
        self,
        name: str,
        role: str | None = None,
        container_defs: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        vpc_config: dict[str, Any] | None = None,
        enable_network_isolation: bool | None = None,
        primary_container: Mapping[str, Any] | str | None = None,
        tags: Tags | None = None,
    ) -> str:
        """CreateModel; return its name. A model of that name with the same container is reused, as in SageMaker's SDK.

        Raises the client's error if the name belongs to a model with another container.
        """
        given = container_defs if container_defs is not None else primary_container
        if isinstance(given, str):
            definition: Mapping[str, Any] = container_def(given)
        elif isinstance(given, Mapping):
            definition = given
        elif given is not None and len(given) == 1:
            definition = given[0]
        elif given:
            unsupported("A model of several containers (an inference pipeline)")
        else:
            raise ArgumentError("container_defs is missing: what container_def(image_uri, model_data_url) returns")
        try:
            self.sagemaker_client.create_model(
                ModelName=name,
                ExecutionRoleArn=self.expand_role(role) if role else get_execution_role(self),
                PrimaryContainer=dict(definition),
                **filled(
                    VpcConfig=vpc_config,
                    EnableNetworkIsolation=enable_network_isolation or None,
                    Tags=format_tags(tags),
                ),
            )
        except Exception as error:
            if "Cannot create already existing model" not in str(error) or not self._same_model(name, definition):
                raise
            logger.warning("Using already existing model: %s", name)
        return name

    def _same_model(self, name: str, definition: Mapping[str, Any]) -> bool:
        there = self.describe_model(name).get("PrimaryContainer") or {}
        return all(there.get(member) == definition.get(member) for member in ("Image", "ModelDataUrl"))

    def describe_model(self, name: str) -> Description:
        """DescribeModel."""
        return dict(self.sagemaker_client.describe_model(ModelName=name))

    def delete_model(self, model_name: str) -> None:
        """Forget a model. Its model.tar.gz stays."""
        self.sagemaker_client.delete_model(ModelName=model_name)

    # -- endpoints --

    def create_endpoint_config(
        self,
        name: str,
        model_name: str | None = None,
        initial_instance_count: int | None = None,
        instance_type: str | None = None,
        accelerator_type: str | None = None,
        tags: Tags | None = None,
        kms_key: str | None = None,
        data_capture_config_dict: dict[str, Any] | None = None,
        volume_size: int | None = None,
        model_data_download_timeout: int | None = None,
        container_startup_health_check_timeout: int | None = None,
        explainer_config_dict: dict[str, Any] | None = None,
        async_inference_config_dict: dict[str, Any] | None = None,
        serverless_inference_config_dict: dict[str, Any] | None = None,
        routing_config: dict[str, Any] | None = None,
        inference_ami_version: str | None = None,
        production_variants: Sequence[Mapping[str, Any]] | None = None,
        role: str | None = None,
    ) -> str:
        """CreateEndpointConfig; return its name. production_variants, when given, stand for the model and instances."""
        variants = production_variants or [
            production_variant(
                model_name,
                instance_type,
                initial_instance_count,
                accelerator_type=accelerator_type,
                serverless_inference_config=serverless_inference_config_dict,
                volume_size=volume_size,
                model_data_download_timeout=model_data_download_timeout,
                container_startup_health_check_timeout=container_startup_health_check_timeout,
                routing_config=routing_config,
                inference_ami_version=inference_ami_version,
            )
        ]
        self.sagemaker_client.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=list(variants),
            **filled(
                Tags=format_tags(tags),
                KmsKeyId=kms_key,
                DataCaptureConfig=data_capture_config_dict,
                AsyncInferenceConfig=async_inference_config_dict,
                ExplainerConfig=explainer_config_dict,
                ExecutionRoleArn=role,
            ),
        )
        return name

    def create_endpoint(
        self,
        endpoint_name: str,
        config_name: str,
        tags: Tags | None = None,
        wait: bool = True,
        live_logging: bool = False,
    ) -> str:
        """CreateEndpoint from a configuration; with wait, until it answers. Returns its name."""
        self.sagemaker_client.create_endpoint(
            EndpointName=endpoint_name, EndpointConfigName=config_name, Tags=format_tags(tags) or []
        )
        if wait:
            self.wait_for_endpoint(endpoint_name, live_logging=live_logging)
        return endpoint_name

    def endpoint_from_production_variants(
        self,
        name: str,
        production_variants: Sequence[Mapping[str, Any]],
        tags: Tags | None = None,
        kms_key: str | None = None,
        wait: bool = True,
        data_capture_config_dict: dict[str, Any] | None = None,
        async_inference_config_dict: dict[str, Any] | None = None,
        explainer_config_dict: dict[str, Any] | None = None,
        live_logging: bool = False,
        vpc_config: dict[str, Any] | None = None,
        enable_network_isolation: bool | None = None,
        role: str | None = None,
    ) -> str:
        """Create an endpoint and its configuration, both of one name. Returns the name.

        A configuration of that name without an endpoint is what a process left that was killed in between, or that is
        about to create the endpoint: it stays as it is, and ours gets a name with the time.
        Raises ArgumentError at once, and creates nothing, if there is an endpoint of that name.
        """
        self.refuse_taken_endpoint(name)
        settings: dict[str, Any] = {
            "tags": tags,
            "kms_key": kms_key,
            "data_capture_config_dict": data_capture_config_dict,
            "async_inference_config_dict": async_inference_config_dict,
            "explainer_config_dict": explainer_config_dict,
            "production_variants": production_variants,
        }
        config = name
        try:
            self.create_endpoint_config(config, **settings)
        except Exception as error:
            if "Cannot create already existing endpoint config" not in str(error):
                raise
            config = name_from_base(name)
            self.create_endpoint_config(config, **settings)
        try:
            self.create_endpoint(name, config, tags=tags, wait=False)
        except Exception:
            self.delete_endpoint_config(config)  # it is ours alone, and would be in the way of a second try
            raise
        if wait:
            self.wait_for_endpoint(name, live_logging=live_logging)
        return name

    def refuse_taken_endpoint(self, name: str) -> None:
        """Raise ArgumentError if there is an endpoint of that name."""
        try:
            status = self.describe_endpoint(name)["EndpointStatus"]
        except Exception as error:
            if _code(error) in ("ValidationException", "ResourceNotFound"):
                return
            raise
        raise ArgumentError(
            f'there is an endpoint "{name}" already ({status}): choose another endpoint_name, '
            f'or delete it with Predictor("{name}").delete_endpoint()'
        )

    def endpoint_from_model_data(
        self,
        model_s3_location: str,
        image_uri: str,
        initial_instance_count: int,
        instance_type: str,
        name: str | None = None,
        role: str | None = None,
        wait: bool = True,
        model_environment_vars: Mapping[str, str] | None = None,
        model_vpc_config: dict[str, Any] | None = None,
        accelerator_type: str | None = None,
        data_capture_config: Any = None,
        tags: Tags | None = None,
    ) -> str:
        """Deploy a model.tar.gz: model, configuration and endpoint of one name, which is returned."""
        if data_capture_config is not None:
            unsupported("data_capture_config", "Endpoints capture nothing.")
        name = name or name_from_image(image_uri)
        self.refuse_taken_endpoint(name)
        definition = container_def(image_uri, model_s3_location, dict(model_environment_vars or {}))
        self.create_model(name, role, definition, vpc_config=model_vpc_config)
        variant = production_variant(name, instance_type, initial_instance_count, accelerator_type=accelerator_type)
        return self.endpoint_from_production_variants(name, [variant], tags=tags, wait=wait)

    def update_endpoint(self, endpoint_name: str, endpoint_config_name: str, wait: bool = True) -> str:
        """Move an endpoint to another configuration; it answers all the while. Returns its name."""
        self.sagemaker_client.update_endpoint(EndpointName=endpoint_name, EndpointConfigName=endpoint_config_name)
        if wait:
            self.wait_for_endpoint(endpoint_name)
        return endpoint_name

    def move_endpoint(
        self, endpoint_name: str, production_variants: Sequence[Mapping[str, Any]], wait: bool = True, **config: Any
    ) -> None:
        """Put other variants behind an endpoint, with a configuration of their own, which goes if that is refused.

        config: further arguments of create_endpoint_config.
        """
        name = self.create_endpoint_config(
            name_from_base(endpoint_name), production_variants=production_variants, **config
        )
        try:
            self.update_endpoint(endpoint_name, name, wait=False)
        except Exception:
            self.delete_endpoint_config(name)
            raise
        if wait:
            self.wait_for_endpoint(endpoint_name)

    def wait_for_endpoint(self, endpoint: str, poll: float | None = None, live_logging: bool = False) -> Description:
        """Wait until an endpoint is in service, writing a dash a second and then "!"; return its description.

        live_logging: write the endpoint's log instead of dashes. poll: 0.03 s when embedded and 5 s when remote.
        Raises UnexpectedStatusException with the reason if it has failed.
        """
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        reader = LogReader(self.boto_session.client("logs"), group, "AllTraffic", 1) if live_logging else None
        next_dash = 0.0
        while True:
            description = self.describe_endpoint(endpoint)
            for message in reader.lines() if reader is not None else ():
                say(message.rstrip("\n"))
            if description["EndpointStatus"] not in ("Creating", "Updating", "SystemUpdating", "RollingBack"):
                break
            if reader is None and time.monotonic() >= next_dash:
                say("-", end="")
                next_dash = time.monotonic() + 1
            time.sleep(self._poll_s(poll, 5))
        if description["EndpointStatus"] == "InService":
            say("!")
            return description
        say("*")
        reason = str(description.get("FailureReason") or "(no reason given)")
        error = CapacityError if "CapacityError" in reason else UnexpectedStatusException
        raise error(
            f"Error hosting endpoint {endpoint}: {description['EndpointStatus']}. Reason: {reason}",
            allowed_statuses=["InService"],
            actual_status=description["EndpointStatus"],
        )

    def endpoint_in_service_or_not(self, endpoint_name: str) -> bool:
        """Whether there is an endpoint of that name, and it is in service."""
        try:
            return bool(self.describe_endpoint(endpoint_name)["EndpointStatus"] == "InService")
        except Exception as error:
            if _code(error) in ("ValidationException", "ResourceNotFound"):
                return False
            raise

    def describe_endpoint(self, endpoint_name: str) -> Description:
        """DescribeEndpoint."""
        return dict(self.sagemaker_client.describe_endpoint(EndpointName=endpoint_name))

    def describe_endpoint_config(self, endpoint_config_name: str) -> Description:
        """DescribeEndpointConfig."""
        return dict(self.sagemaker_client.describe_endpoint_config(EndpointConfigName=endpoint_config_name))

    def delete_endpoint(self, endpoint_name: str) -> None:
        """Take an endpoint down."""
        self.sagemaker_client.delete_endpoint(EndpointName=endpoint_name)

    def delete_endpoint_config(self, endpoint_config_name: str) -> None:
        """Forget an endpoint configuration."""
        self.sagemaker_client.delete_endpoint_config(EndpointConfigName=endpoint_config_name)

    def list_tags(self, resource_arn: str, max_results: int = 50) -> list[dict[str, str]]:
        """The tags of anything that has an ARN."""
        tags: list[dict[str, str]] = []
        request: dict[str, Any] = {"ResourceArn": resource_arn, "MaxResults": max_results}
        while True:
            answer = self.sagemaker_client.list_tags(**request)
            tags += answer["Tags"]
            if not answer.get("NextToken"):
                return tags
            request["NextToken"] = answer["NextToken"]


def container_def(
    image_uri: str | None,
    model_data_url: str | dict[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    container_mode: str | None = None,
    image_config: dict[str, Any] | None = None,
    accept_eula: bool | None = None,
    additional_model_data_sources: Any = None,
    model_reference_arn: str | None = None,
) -> dict[str, Any]:
    """Describe a container of a model, as CreateModel takes it.

    accept_eula and model_reference_arn mean nothing here.
    """
    if additional_model_data_sources is not None:
        unsupported("additional_model_data_sources")
    if container_mode == "MultiModel":
        unsupported("A multi-model container")
    source = "ModelDataSource" if isinstance(model_data_url, dict) else "ModelDataUrl"
    return {
        **filled(Image=image_uri),
        "Environment": dict(env or {}),
        **filled(**{source: model_data_url}, Mode=container_mode, ImageConfig=image_config),
    }


def production_variant(
    model_name: str | None = None,
    instance_type: str | None = None,
    initial_instance_count: int | None = None,
    variant_name: str = "AllTraffic",
    initial_weight: float = 1,
    accelerator_type: str | None = None,
    serverless_inference_config: dict[str, Any] | None = None,
    volume_size: int | None = None,
    model_data_download_timeout: int | None = None,
    container_startup_health_check_timeout: int | None = None,
    managed_instance_scaling: dict[str, Any] | None = None,
    routing_config: dict[str, Any] | None = None,
    inference_ami_version: str | None = None,
) -> dict[str, Any]:
    """Describe a model behind an endpoint and its share of the requests, as CreateEndpointConfig takes it."""
    if serverless_inference_config is not None:
        capacity: dict[str, Any] = {"ServerlessConfig": serverless_inference_config}
    else:
        capacity = {
            "InitialInstanceCount": initial_instance_count or 1,
            "InstanceType": instance_type,
            **filled(
                VolumeSizeInGB=volume_size,
                ModelDataDownloadTimeoutInSeconds=model_data_download_timeout,
                ContainerStartupHealthCheckTimeoutInSeconds=container_startup_health_check_timeout,
                RoutingConfig=routing_config,
            ),
        }
    return {
        "VariantName": variant_name,
        **({"ModelName": model_name, "InitialVariantWeight": initial_weight} if model_name else {}),
        **capacity,
        **filled(
            AcceleratorType=accelerator_type,
            ManagedInstanceScaling=managed_instance_scaling,
            InferenceAmiVersion=inference_ami_version,
        ),
    }


def get_execution_role(sagemaker_session: Session | None = None, use_default: bool = False) -> str:
    """Return the ARN of the role that jobs run under. Embedded, no role is asked for anything: it is only recorded."""
    session = sagemaker_session or Session()
    arn = session.get_caller_identity_arn()
    if ":role/" in arn:
        return arn
    if use_default:
        return session.expand_role("AmazonSageMaker-DefaultRole")
    raise ArgumentError(f"the caller {arn} is not a role: give the ARN of one, arn:aws:iam::<account>:role/<name>")


def _code(error: Exception) -> str:
    """The error code of a service's error; botocore's and ours have the same shape."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, Mapping) else ""


def _tell_if_stopped(job: str, status: str) -> None:
    if status == "Stopped":
        logger.warning(
            "Job %s ended with status Stopped rather than Completed: somebody stopped it, or its time was up. "
            "If it had a model by then, the best one is kept.",
            job,
        )
