"""Model: a model.tar.gz and the algorithm that can load it, ready to be deployed."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from wildsage.sdk import locations
from wildsage.sdk.deserializers import BaseDeserializer
from wildsage.sdk.exceptions import ArgumentError, unsupported
from wildsage.sdk.names import Tags, base_from_name, base_name_from_image, name_from_base
from wildsage.sdk.predictor import Predictor
from wildsage.sdk.serializers import BaseSerializer
from wildsage.sdk.session import Session, container_def, production_variant
from wildsage.sdk.transformer import Transformer


def refuse_script_mode(**arguments: Any) -> None:
    """Raise NotSupportedError if any of the arguments that make a job run the user's own script is given."""
    given = [name for name, value in arguments.items() if value]
    if given:
        unsupported(
            f"Script mode ({', '.join(given)})", "Give the name or image of a built-in algorithm, and no script."
        )


class ModelBase(ABC):
    """What every model can do."""

    @abstractmethod
    def deploy(self, *args: Any, **kwargs: Any) -> Any:
        """Put the model behind an endpoint."""

    @abstractmethod
    def delete_model(self, *args: Any, **kwargs: Any) -> None:
        """Forget the model."""


class Model(ModelBase):
    """A trained model. It becomes a record of the platform with `create`, `deploy` or `transformer`."""

    def __init__(
        self,
        image_uri: str | None = None,
        model_data: str | os.PathLike[str] | dict[str, Any] | None = None,
        role: str | None = None,
        predictor_cls: Callable[..., Any] | None = None,
        env: Mapping[str, str] | None = None,
        name: str | None = None,
        vpc_config: dict[str, Any] | None = None,
        sagemaker_session: Session | None = None,
        enable_network_isolation: bool | None = None,
        model_kms_key: str | None = None,
        image_config: dict[str, Any] | None = None,
        source_dir: str | None = None,
        code_location: str | None = None,
        entry_point: str | None = None,
        container_log_level: int = logging.INFO,
        dependencies: list[str] | None = None,
        git_config: dict[str, str] | None = None,
        resources: Any = None,
        additional_model_data_sources: Any = None,
        model_reference_arn: str | None = None,
    ) -> None:
        """image_uri: the image or plain name of the algorithm that made the model; embedded, it is recognised without.

        model_data: a model.tar.gz as a path or URL; for BlazingText also a fastText .bin.
        predictor_cls: called with endpoint name and session by `deploy`; a Predictor by default. env: variables of the
        serving process. vpc_config, enable_network_isolation and image_config are recorded; role too, and needs not be
        given. Raises NotSupportedError for arguments that would change what runs.
        """
        refuse_script_mode(
            source_dir=source_dir, entry_point=entry_point, dependencies=dependencies, git_config=git_config
        )
        if resources is not None:
            unsupported("resources (inference components)", "An endpoint has one model.")
        if additional_model_data_sources is not None:
            unsupported("additional_model_data_sources")
        self.sagemaker_session = sagemaker_session or Session()
        if not image_uri and not self.sagemaker_session.embedded:
            raise ArgumentError("image_uri is missing: the image of the algorithm that made the model")
        self.image_uri = image_uri
        self.model_data = model_data
        self.role = role
        self.predictor_cls = predictor_cls or Predictor
        self.env = dict(env or {})
        self.name = name
        self.vpc_config = vpc_config
        self.image_config = image_config
        self.model_kms_key = model_kms_key
        self.endpoint_name: str | None = None
        self._enable_network_isolation = enable_network_isolation
        self._created = False

    def enable_network_isolation(self) -> bool:
        """Whether the model was asked to run without a network. It is recorded."""
        return bool(self._enable_network_isolation)

    def prepare_container_def(
        self,
        instance_type: str | None = None,
        accelerator_type: str | None = None,
        serverless_inference_config: Any = None,
        accept_eula: bool | None = None,
        model_reference_arn: str | None = None,
    ) -> dict[str, Any]:
        """Return the container as CreateModel takes it. Raises ArgumentError if the model's file is not there."""
        if self.model_data is None:
            raise ArgumentError("model_data is missing: the path or URL of a model.tar.gz")
        data = self.model_data
        if not isinstance(data, dict):
            data = locations.source(data, self.sagemaker_session, "model_data")
        return container_def(self.image_uri, data, self.env, image_config=self.image_config)

    def create(
        self,
        instance_type: str | None = None,
        accelerator_type: str | None = None,
        serverless_inference_config: Any = None,
        tags: Tags | None = None,
        accept_eula: bool | None = None,
        model_reference_arn: str | None = None,
    ) -> str:
        """CreateModel; return its name, which is made of the image's name and the time unless one was given."""
        self.name = self.name or name_from_base(base_name_from_image(self.image_uri or "model"))
        self.sagemaker_session.create_model(
            self.name,
            self.role,
            self.prepare_container_def(instance_type),
            vpc_config=self.vpc_config,
            enable_network_isolation=self.enable_network_isolation(),
            tags=tags,
        )
        self._created = True
        return self.name

    def deploy(
        self,
        initial_instance_count: int | None = None,
        instance_type: str | None = None,
        serializer: BaseSerializer | None = None,
        deserializer: BaseDeserializer | None = None,
        accelerator_type: str | None = None,
        endpoint_name: str | None = None,
        tags: Tags | None = None,
        kms_key: str | None = None,
        wait: bool = True,
        data_capture_config: Any = None,
        async_inference_config: Any = None,
        serverless_inference_config: Any = None,
        volume_size: int | None = None,
        model_data_download_timeout: int | None = None,
        container_startup_health_check_timeout: int | None = None,
        inference_recommendation_id: str | None = None,
        explainer_config: Any = None,
        accept_eula: bool | None = None,
        endpoint_logging: bool = False,
        resources: Any = None,
        endpoint_type: Any = None,
        managed_instance_scaling: dict[str, Any] | None = None,
        inference_component_name: str | None = None,
        routing_config: dict[str, Any] | None = None,
        model_reference_arn: str | None = None,
        inference_ami_version: str | None = None,
        update_endpoint: bool = False,
    ) -> Any:
        """Put the model behind an endpoint, and return a Predictor for it.

        instance_type: local, local_gpu or any ml.*: all run on this machine when the session is embedded.
        wait: until it answers; otherwise return at once. update_endpoint: replace what is behind endpoint_name.
        Raises ArgumentError if there is an endpoint of that name (and update_endpoint is not set), and
        UnexpectedStatusException with the reason if it could not be brought up.
        """
        for what, value in {
            "data_capture_config": data_capture_config,
            "async_inference_config": async_inference_config,
            "serverless_inference_config": serverless_inference_config,
            "inference_recommendation_id": inference_recommendation_id,
            "explainer_config": explainer_config,
            "resources (inference components)": resources,
            "managed_instance_scaling": managed_instance_scaling,
            "inference_component_name": inference_component_name,
        }.items():
            if value is not None:
                unsupported(what)
        if not instance_type or not initial_instance_count:
            raise ArgumentError(
                "initial_instance_count and instance_type are missing: "
                'deploy(initial_instance_count=1, instance_type="local")'
            )
        session = self.sagemaker_session
        if endpoint_name and not update_endpoint:
            session.refuse_taken_endpoint(endpoint_name)  # before a model is made that nothing would use
        name = self.create(instance_type, tags=tags)
        self.endpoint_name = endpoint_name or name_from_base(base_from_name(name))
        variant = production_variant(
            name,
            instance_type,
            initial_instance_count,
            accelerator_type=accelerator_type,
            volume_size=volume_size,
            model_data_download_timeout=model_data_download_timeout,
            container_startup_health_check_timeout=container_startup_health_check_timeout,
            routing_config=routing_config,
            inference_ami_version=inference_ami_version,
        )
        if update_endpoint:
            session.move_endpoint(self.endpoint_name, [variant], wait=wait, tags=tags, kms_key=kms_key)
        else:
            session.endpoint_from_production_variants(
                self.endpoint_name, [variant], tags=tags, kms_key=kms_key, wait=wait, live_logging=endpoint_logging
            )
        predictor = self.predictor_cls(self.endpoint_name, session)
        if serializer is not None:
            predictor.serializer = serializer
        if deserializer is not None:
            predictor.deserializer = deserializer
        return predictor

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
        volume_kms_key: str | None = None,
    ) -> Transformer:
        """Return a Transformer over this model; the model is created if it was not."""
        name = self.name if self._created and self.name else self.create(instance_type, tags=tags)
        return Transformer(
            name,
            instance_count,
            instance_type,
            strategy=strategy,
            assemble_with=assemble_with,
            output_path=output_path,
            output_kms_key=output_kms_key,
            accept=accept,
            max_concurrent_transforms=max_concurrent_transforms,
            max_payload=max_payload,
            env=env,
            tags=tags,
            base_transform_job_name=base_from_name(name),
            volume_kms_key=volume_kms_key,
            sagemaker_session=self.sagemaker_session,
        )

    def delete_model(self) -> None:
        """Forget the model's record. Its model.tar.gz stays."""
        if self.name is None:
            raise ArgumentError("the model was not created: call create, deploy or transformer first")
        self.sagemaker_session.delete_model(self.name)
        self._created = False

    def register(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: there is no model registry."""
        unsupported("Model.register (the model registry)")

    def compile(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported."""
        unsupported("Model.compile")
