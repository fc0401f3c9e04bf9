"""Predictor: asks a deployed endpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wildsage.sdk.deserializers import BaseDeserializer, BytesDeserializer, PythonDeserializer
from wildsage.sdk.exceptions import ArgumentError, unsupported
from wildsage.sdk.names import Tags, filled
from wildsage.sdk.serializers import BaseSerializer, PythonSerializer
from wildsage.sdk.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence


class PredictorBase(ABC):
    """What every predictor can do."""

    @abstractmethod
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the answer to a request."""

    @abstractmethod
    def delete_predictor(self, *args: Any, **kwargs: Any) -> None:
        """Take down what answers."""

    @property
    @abstractmethod
    def content_type(self) -> str:
        """The content type of requests."""

    @property
    @abstractmethod
    def accept(self) -> Sequence[str] | str:
        """The content types wanted back."""


class Predictor(PredictorBase):
    """Asks one endpoint over HTTP, through one connection that is kept open.

    Without serializer and deserializer, Python objects go as JSON and come back from JSON, while bytes and text go as
    they are and bytes come back. As soon as you set one of the two, the other is SageMaker's default: the body as it
    is, and bytes back.
    """

    def __init__(
        self,
        endpoint_name: str,
        sagemaker_session: Session | None = None,
        serializer: BaseSerializer | None = None,
        deserializer: BaseDeserializer | None = None,
        component_name: str | None = None,
    ) -> None:
        if component_name is not None:
            unsupported("component_name (inference components)", "An endpoint has one model.")
        self.endpoint_name = endpoint_name
        self.component_name = component_name
        self.sagemaker_session = sagemaker_session or Session()
        self.serializer: BaseSerializer = serializer or PythonSerializer()
        self.deserializer: BaseDeserializer = deserializer or PythonDeserializer()
        self._content_type: str | None = None
        self._accept: Sequence[str] | str | None = None
        self._model_names: list[str] | None = None

    def __repr__(self) -> str:
        return f"Predictor({self.endpoint_name!r})"

    @property
    def url(self) -> str:
        """The address to POST requests to."""
        return self.sagemaker_session.endpoint_url(self.endpoint_name)

    @property
    def content_type(self) -> str:
        """The content type of requests: the serializer's unless it was set here."""
        return self._content_type or self.serializer.CONTENT_TYPE

    @content_type.setter
    def content_type(self, val: str) -> None:
        self._content_type = val

    @property
    def accept(self) -> Sequence[str] | str:
        """The content types wanted back: the deserializer's unless they were set here."""
        return self._accept or self.deserializer.ACCEPT

    @accept.setter
    def accept(self, val: Sequence[str] | str) -> None:
        self._accept = val

    def predict(
        self,
        data: Any,
        initial_args: Mapping[str, Any] | None = None,
        target_model: str | None = None,
        target_variant: str | None = None,
        inference_id: str | None = None,
        custom_attributes: str | None = None,
        component_name: str | None = None,
    ) -> Any:
        """Send data, and return what the endpoint answers.

        initial_args: members of InvokeEndpoint that go before those made here (ContentType, Accept, EndpointName).
        Raises the client's error with the endpoint's own words when it refuses the request.
        """
        if component_name is not None:
            unsupported("component_name (inference components)", "An endpoint has one model.")
        content_type, accept, deserializer = self._forms(data)
        body = self.serializer.serialize(data)
        answer = self.sagemaker_session.sagemaker_runtime_client.invoke_endpoint(
            **{
                "EndpointName": self.endpoint_name,
                "ContentType": content_type,
                "Accept": accept if isinstance(accept, str) else ", ".join(accept),
                **(initial_args or {}),
                "Body": body.read() if hasattr(body, "read") else body,
                **filled(
                    TargetModel=target_model,
                    TargetVariant=target_variant,
                    InferenceId=inference_id,
                    CustomAttributes=custom_attributes,
                ),
            }
        )
        return deserializer.deserialize(answer["Body"], answer.get("ContentType") or "application/octet-stream")

    def _forms(self, data: Any) -> tuple[str, Sequence[str] | str, BaseDeserializer]:
        """Content type, Accept and deserializer of a request with this data."""
        content_type, accept, deserializer = self.content_type, self.accept, self.deserializer
        objects = isinstance(self.serializer, PythonSerializer) and not PythonSerializer.is_raw(data)
        if objects and self._content_type is None:
            content_type = "application/json"
        if isinstance(deserializer, PythonDeserializer) and not objects:
            deserializer = BytesDeserializer()
            accept = self._accept or deserializer.ACCEPT
        return content_type, accept, deserializer

    def predict_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Not supported: no built-in algorithm answers in a stream."""
        unsupported("predict_stream", "No built-in algorithm answers in a stream; use predict.")

    def update_endpoint(
        self,
        initial_instance_count: int | None = None,
        instance_type: str | None = None,
        accelerator_type: str | None = None,
        model_name: str | None = None,
        tags: Tags | None = None,
        kms_key: str | None = None,
        data_capture_config_dict: dict[str, Any] | None = None,
        max_instance_count: int | None = None,
        min_instance_count: int | None = None,
        wait: bool = True,
    ) -> None:
        """Put another model, or other instances, behind the endpoint; it answers all the while."""
        if max_instance_count is not None or min_instance_count is not None:
            unsupported("Scaling an endpoint by itself (max_instance_count, min_instance_count)")
        session = self.sagemaker_session
        old = session.describe_endpoint_config(session.describe_endpoint(self.endpoint_name)["EndpointConfigName"])
        if model_name is not None and len(old["ProductionVariants"]) != 1:
            raise ArgumentError("the endpoint has several variants: which of them model_name replaces is not said")
        changes = filled(
            ModelName=model_name,
            InitialInstanceCount=initial_instance_count,
            InstanceType=instance_type,
            AcceleratorType=accelerator_type,
        )
        if not changes:
            raise ArgumentError("nothing to change: give model_name, initial_instance_count or instance_type")
        session.move_endpoint(
            self.endpoint_name,
            [{**variant, **changes} for variant in old["ProductionVariants"]],
            wait=wait,
            tags=tags,
            kms_key=kms_key,
            data_capture_config_dict=data_capture_config_dict,
        )
        self._model_names = None

    def delete_endpoint(self, delete_endpoint_config: bool = True) -> None:
        """Take the endpoint down, and forget its configuration unless told otherwise. The model stays."""
        session = self.sagemaker_session
        config = session.describe_endpoint(self.endpoint_name)["EndpointConfigName"]
        if self._model_names is None:
            try:
                self._model_names = self._models_of(config)  # delete_model may be called when the configuration is gone
            except Exception as error:
                if "Could not find" not in str(error):
                    raise
                delete_endpoint_config = False  # somebody deleted it before; the endpoint must not stay for that
        session.delete_endpoint(self.endpoint_name)
        if delete_endpoint_config:
            session.delete_endpoint_config(config)

    def delete_predictor(self, wait: bool = False) -> None:
        """Take the endpoint down."""
        self.delete_endpoint()

    def delete_model(self) -> None:
        """Forget the models behind the endpoint, before or after delete_endpoint. Their model.tar.gz files stay."""
        if self._model_names is None:
            endpoint = self.sagemaker_session.describe_endpoint(self.endpoint_name)
            self._model_names = self._models_of(endpoint["EndpointConfigName"])
        for name in self._model_names:
            self.sagemaker_session.delete_model(name)

    def _models_of(self, config: str) -> list[str]:
        variants = self.sagemaker_session.describe_endpoint_config(config)["ProductionVariants"]
        return [variant["ModelName"] for variant in variants if variant.get("ModelName")]

    def endpoint_context(self) -> Any:
        """Not supported: there is no lineage record."""
        unsupported("endpoint_context (lineage)", "describe_endpoint of the session says what is behind an endpoint.")

    def enable_data_capture(self) -> None:
        """Not supported."""
        unsupported("Capturing an endpoint's data")
