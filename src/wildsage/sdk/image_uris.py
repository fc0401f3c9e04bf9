"""Image URIs of the built-in algorithms: the names by which jobs ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wildsage.contract import builtins
from wildsage.contract.errors import ClientError
from wildsage.platform.names import default_region
from wildsage.sdk.exceptions import ArgumentError

if TYPE_CHECKING:
    from wildsage.sdk.session import Session


def retrieve(
    framework: str,
    region: str | None = None,
    version: str | None = None,
    py_version: str | None = None,
    instance_type: str | None = None,
    accelerator_type: str | None = None,
    image_scope: str | None = None,
    container_version: str | None = None,
    distribution: Any = None,
    base_framework_version: str | None = None,
    training_compiler_config: Any = None,
    model_id: str | None = None,
    model_version: str | None = None,
    hub_arn: str | None = None,
    tolerate_vulnerable_model: bool = False,
    tolerate_deprecated_model: bool = False,
    sdk_version: str | None = None,
    inference_tool: str | None = None,
    serverless_inference_config: Any = None,
    sagemaker_session: Session | None = None,
    config_name: str | None = None,
    model_type: Any = None,
) -> str:
    """Return the image URI of a built-in algorithm, in the form of the managed service's registry.

    framework: a name or alias: blazingtext, blazing_text, BlazingText. region: the default region when absent.
    What the managed service has no image of, such as glove, goes by its name alone.
    The other arguments choose among images that hold a framework; a built-in has one image for all of them.
    Raises ArgumentError (a ClientError and a ValueError) with the nearest name for an unknown one.
    """
    if region is None:
        region = sagemaker_session.boto_region_name if sagemaker_session is not None else default_region()
    try:
        return builtins.image(framework, region=region, version=version)
    except ClientError as error:
        raise ArgumentError(str(error)) from None
