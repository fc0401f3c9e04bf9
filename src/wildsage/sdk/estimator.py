"""Estimator: trains an algorithm on data, and deploys what comes out."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from wildsage.contract import builtins
from wildsage.contract.errors import ClientError
from wildsage.sdk import locations
from wildsage.sdk.analytics import TrainingJobAnalytics
from wildsage.sdk.deserializers import BaseDeserializer
from wildsage.sdk.exceptions import ArgumentError, one_of, unsupported
from wildsage.sdk.job import Inputs, TrainingJob, channel, channels
from wildsage.sdk.model import Model, refuse_script_mode
from wildsage.sdk.names import Tags, base_from_name, base_name_from_image, filled, format_tags, name_from_base
from wildsage.sdk.serializers import BaseSerializer
from wildsage.sdk.session import Session
from wildsage.sdk.transformer import Transformer

logger = logging.getLogger(__name__)

VPC_CONFIG_DEFAULT = "VPC_CONFIG_DEFAULT"


def _config(what: str, value: Any) -> dict[str, Any] | None:
    """The request form of a configuration object: a dict, or an object that makes one as SageMaker's do."""
    if value is None or value is False:
        return None
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "_to_request_dict"):
        return dict(value._to_request_dict())
    raise ArgumentError(f"{what} can not be a {type(value).__name__}: a dict with the members of CreateTrainingJob")


def _check_hyperparameters(image: str, values: Mapping[str, str]) -> None:
    """Raise ArgumentError for hyperparameters that a built-in does not take, all of them at once.

    A job may be created with any, as in the service, and would then fail; here they are told before it is.
    """
    from wildsage.contract.hyperparameters import table_problems

    try:
        name = builtins.resolve(image)
    except ClientError:  # an image of one's own
        return
    if name not in builtins.names() or name not in builtins.installed():
        return
    table = builtins.table(name)
    facts = (*table.hyperparameters, *table.container_only_hyperparameters)
    if problems := table_problems(values, facts, name):
        raise ArgumentError("\n".join(problems))


class EstimatorBase(ABC):
    """Everything about an estimator but which algorithm it trains."""

    def __init__(
        self,
        role: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        keep_alive_period_in_seconds: int | None = None,
        volume_size: int = 30,
        volume_kms_key: str | None = None,
        max_run: int = 24 * 60 * 60,
        input_mode: str = "File",
        output_path: str | os.PathLike[str] | None = None,
        output_kms_key: str | None = None,
        base_job_name: str | None = None,
        sagemaker_session: Session | None = None,
        tags: Tags | None = None,
        subnets: Sequence[str] | None = None,
        security_group_ids: Sequence[str] | None = None,
        model_uri: str | os.PathLike[str] | None = None,
        model_channel_name: str = "model",
        metric_definitions: Sequence[Mapping[str, str]] | None = None,
        encrypt_inter_container_traffic: bool | None = None,
        use_spot_instances: bool = False,
        max_wait: int | None = None,
        checkpoint_s3_uri: str | os.PathLike[str] | None = None,
        checkpoint_local_path: str | None = None,
        rules: Sequence[Any] | None = None,
        debugger_hook_config: Any = None,
        tensorboard_output_config: Any = None,
        enable_sagemaker_metrics: bool | None = None,
        enable_network_isolation: bool | None = None,
        profiler_config: Any = None,
        disable_profiler: bool | None = None,
        environment: Mapping[str, str] | None = None,
        max_retry_attempts: int | None = None,
        source_dir: str | None = None,
        git_config: Mapping[str, str] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        container_log_level: int = logging.INFO,
        code_location: str | None = None,
        entry_point: str | None = None,
        dependencies: Sequence[str] | None = None,
        instance_groups: Sequence[Any] | None = None,
        training_repository_access_mode: str | None = None,
        training_repository_credentials_provider_arn: str | None = None,
        enable_infra_check: bool | None = None,
        container_entry_point: Sequence[str] | None = None,
        container_arguments: Sequence[str] | None = None,
        disable_output_compression: bool = False,
        enable_remote_debug: bool | None = None,
        enable_session_tag_chaining: bool | None = None,
        training_plan: str | None = None,
        instance_placement_config: Mapping[str, Any] | None = None,
    ) -> None:
        """instance_type: local, local_gpu or any ml.*; all run on this machine when the session is embedded.

        What acts: instance_count, max_run (seconds, then the job is stopped and its best model kept), input_mode,
        output_path (a folder or URL; <home>/artifacts by default), base_job_name, model_uri (a model.tar.gz or a folder
        to go on from) and model_channel_name, metric_definitions, checkpoint_s3_uri (a folder or URL),
        environment, max_retry_attempts, hyperparameters.
        What is only recorded: role, volumes, keys, tags, subnets and security groups, encryption, spot instances,
        network isolation, warm pools, plans, debugger, profiler and TensorBoard configurations.
        Raises NotSupportedError for arguments that would change what runs and cannot be had, ArgumentError for values
        that cannot work.
        """
        refuse_script_mode(
            entry_point=entry_point, source_dir=source_dir, git_config=git_config, dependencies=dependencies
        )
        if instance_groups is not None:
            unsupported("instance_groups", "All machines of a job are of one kind: instance_count and instance_type.")
        if container_entry_point is not None or container_arguments is not None:
            unsupported("container_entry_point and container_arguments", "Built-in algorithms have their own.")
        if rules:
            unsupported("rules (debugger and profiler rules)")
        if not instance_count or not instance_type:
            raise ArgumentError('instance_count and instance_type are missing: instance_count=1, instance_type="local"')
        one_of("input_mode", input_mode, ["File", "FastFile", "Pipe"])
        if max_wait is not None and max_wait < max_run:
            raise ArgumentError(f"max_wait = {max_wait} is not allowed: {max_run} (max_run) or more")
        if checkpoint_local_path and not checkpoint_s3_uri:
            raise ArgumentError("checkpoint_local_path is where checkpoint_s3_uri appears in the job; give that too")
        self.sagemaker_session = sagemaker_session or Session()
        self.role = role
        self.instance_count = instance_count
        self.instance_type = instance_type
        self.keep_alive_period_in_seconds = keep_alive_period_in_seconds
        self.volume_size = volume_size
        self.volume_kms_key = volume_kms_key
        self.max_run = max_run
        self.input_mode = input_mode
        self.output_path = None if output_path is None else locations.target(output_path)
        self.output_kms_key = output_kms_key
        self.base_job_name = base_job_name
        self.tags = format_tags(tags)
        self.subnets = list(subnets) if subnets else None
        self.security_group_ids = list(security_group_ids) if security_group_ids else None
        self.model_uri = model_uri
        self.model_channel_name = model_channel_name
        self.metric_definitions = [dict(metric) for metric in metric_definitions] if metric_definitions else None
        self.encrypt_inter_container_traffic = encrypt_inter_container_traffic
        self.use_spot_instances = use_spot_instances
        self.max_wait = max_wait
        self.checkpoint_s3_uri = None if checkpoint_s3_uri is None else locations.target(checkpoint_s3_uri)
        self.checkpoint_local_path = checkpoint_local_path
        self.debugger_hook_config = _config("debugger_hook_config", debugger_hook_config)
        self.tensorboard_output_config = _config("tensorboard_output_config", tensorboard_output_config)
        self.enable_sagemaker_metrics = enable_sagemaker_metrics
        self.profiler_config = _config("profiler_config", profiler_config)
        self.disable_profiler = disable_profiler
        self.environment = {str(key): str(value) for key, value in environment.items()} if environment else None
        self.max_retry_attempts = max_retry_attempts
        self.container_log_level = container_log_level
        self.training_repository_access_mode = training_repository_access_mode
        self.training_repository_credentials_provider_arn = training_repository_credentials_provider_arn
        self.enable_infra_check = enable_infra_check
        self.disable_output_compression = disable_output_compression
        self.enable_remote_debug = enable_remote_debug
        self.enable_session_tag_chaining = enable_session_tag_chaining
        self.training_plan = training_plan
        self.instance_placement_config = instance_placement_config
        self._enable_network_isolation = enable_network_isolation
        self._hyperparameters: dict[str, Any] = dict(hyperparameters or {})
        self.latest_training_job: TrainingJob | None = None
        self.jobs: list[TrainingJob] = []

    @abstractmethod
    def training_image_uri(self) -> str:
        """The image, or the plain name, of the algorithm."""

    @abstractmethod
    def hyperparameters(self) -> dict[str, Any]:
        """The hyperparameters that the next job gets."""

    @abstractmethod
    def create_model(self, **kwargs: Any) -> Model:
        """Return the trained model, ready to be deployed."""

    def enable_network_isolation(self) -> bool:
        """Whether jobs were asked to run without a network. It is recorded."""
        return bool(self._enable_network_isolation)

    def get_vpc_config(self, vpc_config_override: Any = VPC_CONFIG_DEFAULT) -> dict[str, Any] | None:
        """Subnets and security groups, as requests carry them; None unless both were given."""
        if vpc_config_override != VPC_CONFIG_DEFAULT:
            return None if vpc_config_override is None else dict(vpc_config_override)
        if not self.subnets or not self.security_group_ids:
            return None
        return {"Subnets": self.subnets, "SecurityGroupIds": self.security_group_ids}

    # -- training --

    def fit(
        self,
        inputs: Inputs | None = None,
        wait: bool = True,
        logs: bool | str | None = "All",
        job_name: str | None = None,
        experiment_config: dict[str, str] | None = None,
    ) -> None:
        """Train.

        inputs: channels by name, {"train": …, "validation": …}, each a path, a folder, file://…, s3://… or a
        TrainingInput. A single one without a name is the channel `train` of a built-in algorithm (SageMaker's SDK would
        name it `training`, which its own built-ins refuse).
        wait: until the job has ended, while its log is written; logs: All or Training; None or False to wait in
        silence. Ctrl-C ends the waiting, not the job.
        Raises ArgumentError for a channel that cannot be read and for hyperparameters that the built-in does not take,
        UnexpectedStatusException with the reason if training has failed.
        """
        session = self.sagemaker_session
        image = self.training_image_uri()
        # Text of the values as str() makes it, which is how SageMaker's SDK sends them: True, 0.05, [1, 2].
        hyperparameters = {str(key): str(value) for key, value in self.hyperparameters().items()}
        if session.embedded:  # a remote service may know others, and says so itself
            _check_hyperparameters(image, hyperparameters)
        input_config = channels(inputs, image, session)
        if self.model_uri:
            if any(there["ChannelName"] == self.model_channel_name for there in input_config or []):
                raise ArgumentError(
                    f'the channel "{self.model_channel_name}" is given twice: as input and as model_uri'
                )
            input_config = [
                *(input_config or []),
                channel(
                    self.model_channel_name,
                    self.model_uri,
                    session,
                    content_type="application/x-sagemaker-model",
                    input_mode="File",
                ),
            ]
        name = job_name or name_from_base(self.base_job_name or base_name_from_image(image))
        if self.output_path is None:
            self.output_path = session.output_folder()
        session.train(
            input_mode=self.input_mode,
            input_config=input_config,
            role=session.expand_role(self.role) if self.role else None,
            job_name=name,
            output_config={
                "S3OutputPath": self.output_path,
                **filled(
                    KmsKeyId=self.output_kms_key, CompressionType="NONE" if self.disable_output_compression else None
                ),
            },
            resource_config={
                "InstanceCount": self.instance_count,
                "InstanceType": self.instance_type,
                "VolumeSizeInGB": self.volume_size,
                **filled(
                    VolumeKmsKeyId=self.volume_kms_key,
                    KeepAlivePeriodInSeconds=self.keep_alive_period_in_seconds,
                    TrainingPlanArn=self.training_plan,
                    InstancePlacementConfig=self.instance_placement_config,
                ),
            },
            vpc_config=self.get_vpc_config(),
            hyperparameters=hyperparameters,
            stop_condition={"MaxRuntimeInSeconds": self.max_run, **filled(MaxWaitTimeInSeconds=self.max_wait)},
            tags=self.tags,
            metric_definitions=self.metric_definitions,
            enable_network_isolation=self.enable_network_isolation(),
            image_uri=image,
            training_image_config=self._image_config(),
            infra_check_config=None
            if self.enable_infra_check is None
            else {"EnableInfraCheck": self.enable_infra_check},
            encrypt_inter_container_traffic=self.encrypt_inter_container_traffic,
            use_spot_instances=self.use_spot_instances,
            checkpoint_s3_uri=self.checkpoint_s3_uri,
            checkpoint_local_path=self.checkpoint_local_path,
            experiment_config=experiment_config,
            debugger_hook_config=self.debugger_hook_config,
            tensorboard_output_config=self.tensorboard_output_config,
            enable_sagemaker_metrics=self.enable_sagemaker_metrics,
            profiler_config={"DisableProfiler": True} if self.disable_profiler else self.profiler_config,
            environment=self.environment,
            retry_strategy=None
            if self.max_retry_attempts is None
            else {"MaximumRetryAttempts": self.max_retry_attempts},
            remote_debug_config=None
            if self.enable_remote_debug is None
            else {"EnableRemoteDebug": self.enable_remote_debug},
            session_chaining_config=None
            if self.enable_session_tag_chaining is None
            else {"EnableSessionTagChaining": self.enable_session_tag_chaining},
        )
        self.latest_training_job = TrainingJob(session, name)
        self.jobs.append(self.latest_training_job)
        if wait:
            self.latest_training_job.wait(logs=logs)

    def _image_config(self) -> dict[str, Any] | None:
        if self.training_repository_access_mode is None:
            return None
        arn = self.training_repository_credentials_provider_arn
        return {
            "TrainingRepositoryAccessMode": self.training_repository_access_mode,
            **filled(TrainingRepositoryAuthConfig={"TrainingRepositoryCredentialsProviderArn": arn} if arn else None),
        }

    def _latest(self) -> TrainingJob:
        if self.latest_training_job is None:
            raise ArgumentError("the estimator has not trained yet: call fit first, or Estimator.attach(job name)")
        return self.latest_training_job

    @classmethod
    def attach(
        cls, training_job_name: str, sagemaker_session: Session | None = None, model_channel_name: str = "model"
    ) -> Self:
        """Return an estimator with the settings of a job, and that job as its latest; wait, in silence, for its end.

        Raises UnexpectedStatusException if the job has failed. Hyperparameters come back as text.
        """
        session = sagemaker_session or Session()
        description = session.describe_training_job(training_job_name)
        estimator = cls(sagemaker_session=session, **cls._arguments(description, model_channel_name))
        if description.get("TrainingJobArn"):
            estimator.tags = session.list_tags(description["TrainingJobArn"]) or None
        estimator.latest_training_job = TrainingJob(session, training_job_name)
        estimator.jobs.append(estimator.latest_training_job)
        estimator.latest_training_job.wait(logs=None)
        return estimator

    @classmethod
    def _arguments(cls, job: Mapping[str, Any], model_channel_name: str) -> dict[str, Any]:
        """Constructor arguments from a training job's description."""
        resources, algorithm, checkpoint = (
            job["ResourceConfig"],
            job["AlgorithmSpecification"],
            job.get("CheckpointConfig") or {},
        )
        vpc = job.get("VpcConfig") or {}
        image_config = algorithm.get("TrainingImageConfig") or {}
        models = [
            found["DataSource"]["S3DataSource"]["S3Uri"]
            for found in job.get("InputDataConfig") or []
            if found["ChannelName"] == model_channel_name
        ]
        if "TrainingImage" not in algorithm:
            unsupported("Training from a marketplace algorithm (AlgorithmName)")
        return filled(
            image_uri=algorithm["TrainingImage"],
            role=job.get("RoleArn"),
            instance_count=resources["InstanceCount"],
            instance_type=resources["InstanceType"],
            keep_alive_period_in_seconds=resources.get("KeepAlivePeriodInSeconds"),
            volume_size=resources.get("VolumeSizeInGB"),
            volume_kms_key=resources.get("VolumeKmsKeyId"),
            training_plan=resources.get("TrainingPlanArn"),
            max_run=job["StoppingCondition"].get("MaxRuntimeInSeconds"),
            max_wait=job["StoppingCondition"].get("MaxWaitTimeInSeconds"),
            input_mode=algorithm.get("TrainingInputMode"),
            base_job_name=base_from_name(job["TrainingJobName"]),
            output_path=job["OutputDataConfig"]["S3OutputPath"],
            output_kms_key=job["OutputDataConfig"].get("KmsKeyId") or None,
            disable_output_compression=job["OutputDataConfig"].get("CompressionType") == "NONE" or None,
            enable_network_isolation=job.get("EnableNetworkIsolation"),
            encrypt_inter_container_traffic=job.get("EnableInterContainerTrafficEncryption"),
            use_spot_instances=job.get("EnableManagedSpotTraining"),
            checkpoint_s3_uri=checkpoint.get("S3Uri"),
            checkpoint_local_path=checkpoint.get("LocalPath") if checkpoint.get("S3Uri") else None,
            hyperparameters=job.get("HyperParameters") or {},
            metric_definitions=algorithm.get("MetricDefinitions"),
            environment=job.get("Environment"),
            max_retry_attempts=(job.get("RetryStrategy") or {}).get("MaximumRetryAttempts"),
            subnets=vpc.get("Subnets"),
            security_group_ids=vpc.get("SecurityGroupIds"),
            model_channel_name=model_channel_name,
            model_uri=models[0] if models else None,
            training_repository_access_mode=image_config.get("TrainingRepositoryAccessMode"),
        )

    def logs(self) -> None:
        """Write the latest job's states and log, and what is to come if it still runs."""
        self._latest().wait(logs="All")

    def stop_training_job(self) -> None:
        """Ask the latest job to stop; its best model so far is kept."""
        self._latest().stop()

    @property
    def model_data(self) -> str:
        """Where the latest job's model is: a model.tar.gz as a path or URL.

        Raises ArgumentError as long as there is none.
        """
        job = self._latest()
        description = job.describe()
        artifact = (description.get("ModelArtifacts") or {}).get("S3ModelArtifacts")
        if not artifact:
            raise ArgumentError(
                f"the training job {job.name} has no model ({description['TrainingJobStatus']}"
                + (f": {description['FailureReason']})" if description.get("FailureReason") else ")")
            )
        return str(artifact)

    @property
    def training_job_analytics(self) -> TrainingJobAnalytics:
        """The metrics of the latest job: `.table()`, or `.dataframe()` with pandas."""
        return TrainingJobAnalytics(self._latest().name, sagemaker_session=self.sagemaker_session)

    # -- what comes after --

    def deploy(
        self,
        initial_instance_count: int | None = None,
        instance_type: str | None = None,
        serializer: BaseSerializer | None = None,
        deserializer: BaseDeserializer | None = None,
        accelerator_type: str | None = None,
        endpoint_name: str | None = None,
        use_compiled_model: bool = False,
        wait: bool = True,
        model_name: str | None = None,
        kms_key: str | None = None,
        data_capture_config: Any = None,
        tags: Tags | None = None,
        serverless_inference_config: Any = None,
        async_inference_config: Any = None,
        volume_size: int | None = None,
        model_data_download_timeout: int | None = None,
        container_startup_health_check_timeout: int | None = None,
        inference_recommendation_id: str | None = None,
        explainer_config: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Put the latest job's model behind an endpoint, and return a Predictor for it.

        kwargs go to create_model, endpoint_logging to Model.deploy. See Model.deploy for the rest.
        """
        if use_compiled_model:
            unsupported("use_compiled_model", "Models are not compiled for a machine type.")
        default_name = name_from_base(self.base_job_name or base_name_from_image(self.training_image_uri()))
        endpoint_logging = kwargs.pop("endpoint_logging", False)
        model = self.create_model(name=model_name or default_name, model_kms_key=self.output_kms_key, **kwargs)
        return model.deploy(
            initial_instance_count=initial_instance_count,
            instance_type=instance_type,
            serializer=serializer,
            deserializer=deserializer,
            accelerator_type=accelerator_type,
            endpoint_name=endpoint_name or default_name,
            tags=tags if tags is not None else self.tags,
            wait=wait,
            kms_key=kms_key,
            data_capture_config=data_capture_config,
            serverless_inference_config=serverless_inference_config,
            async_inference_config=async_inference_config,
            explainer_config=explainer_config,
            volume_size=volume_size,
            model_data_download_timeout=model_data_download_timeout,
            container_startup_health_check_timeout=container_startup_health_check_timeout,
            inference_recommendation_id=inference_recommendation_id,
            endpoint_logging=endpoint_logging,
        )

    def transformer(
        self,
        instance_count: int,
        instance_type: str,
        strategy: str | None = None,
        assemble_with: str | None = None,
        output_path: str | os.PathLike[str] | None = None,
        output_kms_key: str | None = None,
        accept: str | None = None,
        env: Mapping[str, str] | None = None,
        max_concurrent_transforms: int | None = None,
        max_payload: int | None = None,
        tags: Tags | None = None,
        role: str | None = None,
        volume_kms_key: str | None = None,
        vpc_config_override: Any = VPC_CONFIG_DEFAULT,
        enable_network_isolation: bool | None = None,
        model_name: str | None = None,
    ) -> Transformer:
        """Return a Transformer over the latest job's model."""
        if enable_network_isolation is None:
            enable_network_isolation = self.enable_network_isolation()
        base = self.base_job_name or base_name_from_image(self.training_image_uri())
        model = self.create_model(
            role=role,
            vpc_config_override=vpc_config_override,
            enable_network_isolation=enable_network_isolation,
            name=model_name or name_from_base(base),
        )
        return model.transformer(
            instance_count,
            instance_type,
            strategy=strategy,
            assemble_with=assemble_with,
            output_path=output_path,
            output_kms_key=output_kms_key,
            accept=accept,
            env=env,
            max_concurrent_transforms=max_concurrent_transforms,
            max_payload=max_payload,
            tags=tags if tags is not None else self.tags,
            volume_kms_key=volume_kms_key,
        )

    def register(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: there is no model registry."""
        unsupported("Estimator.register (the model registry)", "estimator.model_data is the model's file, to keep.")

    def compile_model(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported."""
        unsupported("Estimator.compile_model")


class Estimator(EstimatorBase):
    """Trains any built-in algorithm, by its image or its plain name."""

    def __init__(
        self,
        image_uri: str,
        role: str | None = None,
        instance_count: int | None = None,
        instance_type: str | None = None,
        keep_alive_period_in_seconds: int | None = None,
        volume_size: int = 30,
        volume_kms_key: str | None = None,
        max_run: int = 24 * 60 * 60,
        input_mode: str = "File",
        output_path: str | os.PathLike[str] | None = None,
        output_kms_key: str | None = None,
        base_job_name: str | None = None,
        sagemaker_session: Session | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        tags: Tags | None = None,
        subnets: Sequence[str] | None = None,
        security_group_ids: Sequence[str] | None = None,
        model_uri: str | os.PathLike[str] | None = None,
        model_channel_name: str = "model",
        metric_definitions: Sequence[Mapping[str, str]] | None = None,
        encrypt_inter_container_traffic: bool | None = None,
        use_spot_instances: bool = False,
        max_wait: int | None = None,
        checkpoint_s3_uri: str | os.PathLike[str] | None = None,
        checkpoint_local_path: str | None = None,
        enable_network_isolation: bool | None = None,
        rules: Sequence[Any] | None = None,
        debugger_hook_config: Any = None,
        tensorboard_output_config: Any = None,
        enable_sagemaker_metrics: bool | None = None,
        profiler_config: Any = None,
        disable_profiler: bool = False,
        environment: Mapping[str, str] | None = None,
        max_retry_attempts: int | None = None,
        source_dir: str | None = None,
        git_config: Mapping[str, str] | None = None,
        container_log_level: int = logging.INFO,
        code_location: str | None = None,
        entry_point: str | None = None,
        dependencies: Sequence[str] | None = None,
        instance_groups: Sequence[Any] | None = None,
        training_repository_access_mode: str | None = None,
        training_repository_credentials_provider_arn: str | None = None,
        container_entry_point: Sequence[str] | None = None,
        container_arguments: Sequence[str] | None = None,
        disable_output_compression: bool = False,
        enable_infra_check: bool | None = None,
        enable_remote_debug: bool | None = None,
        enable_session_tag_chaining: bool | None = None,
        training_plan: str | None = None,
        instance_placement_config: Mapping[str, Any] | None = None,
    ) -> None:
        """image_uri: what image_uris.retrieve returns, or an algorithm's plain name or alias. Others: EstimatorBase."""
        if not image_uri:
            raise ArgumentError('image_uri is missing: an image or the name of an algorithm, such as "blazingtext"')
        self.image_uri = image_uri
        super().__init__(
            role=role,
            instance_count=instance_count,
            instance_type=instance_type,
            keep_alive_period_in_seconds=keep_alive_period_in_seconds,
            volume_size=volume_size,
            volume_kms_key=volume_kms_key,
            max_run=max_run,
            input_mode=input_mode,
            output_path=output_path,
            output_kms_key=output_kms_key,
            base_job_name=base_job_name,
            sagemaker_session=sagemaker_session,
            tags=tags,
            subnets=subnets,
            security_group_ids=security_group_ids,
            model_uri=model_uri,
            model_channel_name=model_channel_name,
            metric_definitions=metric_definitions,
            encrypt_inter_container_traffic=encrypt_inter_container_traffic,
            use_spot_instances=use_spot_instances,
            max_wait=max_wait,
            checkpoint_s3_uri=checkpoint_s3_uri,
            checkpoint_local_path=checkpoint_local_path,
            rules=rules,
            debugger_hook_config=debugger_hook_config,
            tensorboard_output_config=tensorboard_output_config,
            enable_sagemaker_metrics=enable_sagemaker_metrics,
            enable_network_isolation=enable_network_isolation,
            profiler_config=profiler_config,
            disable_profiler=disable_profiler,
            environment=environment,
            max_retry_attempts=max_retry_attempts,
            source_dir=source_dir,
            git_config=git_config,
            hyperparameters=hyperparameters,
            container_log_level=container_log_level,
            code_location=code_location,
            entry_point=entry_point,
            dependencies=dependencies,
            instance_groups=instance_groups,
            training_repository_access_mode=training_repository_access_mode,
            training_repository_credentials_provider_arn=training_repository_credentials_provider_arn,
            enable_infra_check=enable_infra_check,
            container_entry_point=container_entry_point,
            container_arguments=container_arguments,
            disable_output_compression=disable_output_compression,
            enable_remote_debug=enable_remote_debug,
            enable_session_tag_chaining=enable_session_tag_chaining,
            training_plan=training_plan,
            instance_placement_config=instance_placement_config,
        )

    def __repr__(self) -> str:
        return f"Estimator({self.image_uri!r})"

    def training_image_uri(self) -> str:
        return self.image_uri

    def set_hyperparameters(self, **kwargs: Any) -> None:
        """Set hyperparameters for the next job; earlier ones of other names stay."""
        self._hyperparameters.update(kwargs)

    def hyperparameters(self) -> dict[str, Any]:
        return self._hyperparameters

    def create_model(
        self,
        role: str | None = None,
        image_uri: str | None = None,
        predictor_cls: Callable[..., Any] | None = None,
        vpc_config_override: Any = VPC_CONFIG_DEFAULT,
        **kwargs: Any,
    ) -> Model:
        """Return the latest job's model. kwargs go to Model."""
        kwargs.setdefault("enable_network_isolation", self.enable_network_isolation())
        return Model(
            image_uri or self.training_image_uri(),
            self.model_data,
            role or self.role,
            vpc_config=self.get_vpc_config(vpc_config_override),
            sagemaker_session=self.sagemaker_session,
            predictor_cls=predictor_cls,
            **kwargs,
        )
