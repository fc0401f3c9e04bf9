from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sdk.recording import RecordingBoto, RecordingClient, RefusedError
from wildsage.sdk.exceptions import ArgumentError, NotSupportedError
from wildsage.sdk.model import Model
from wildsage.sdk.serializers import CSVSerializer
from wildsage.sdk.session import Session

DATA = "s3://bucket/model.tar.gz"


@pytest.fixture
def client() -> RecordingClient:
    missing = RefusedError("ValidationException", "Could not find")
    return RecordingClient("sagemaker", {"describe_endpoint": missing})


@pytest.fixture
def session(client: RecordingClient) -> Session:
    return Session(RecordingBoto(), client, default_bucket="bucket")


def model(session: Session, **arguments: Any) -> Model:
    base = {"role": "arn:aws:iam::123456789012:role/x", "sagemaker_session": session}
    return Model("image/blazingtext:1", DATA, **{**base, **arguments})


def test_deploy_names_what_it_makes_and_returns_a_predictor(session: Session, client: RecordingClient) -> None:
    one = model(session, env={"A": "1"}, vpc_config={"Subnets": ["a"], "SecurityGroupIds": ["b"]})
    predictor = one.deploy(1, "ml.c5.large", wait=False, serializer=CSVSerializer())
    assert predictor.endpoint_name == one.endpoint_name
    assert predictor.content_type == "text/csv"
    request = client.sent("create_model")
    assert request["ModelName"] == one.name
    assert request["PrimaryContainer"]["Environment"] == {"A": "1"}
    assert request["VpcConfig"]["Subnets"] == ["a"]
    assert str(one.endpoint_name).startswith("blazingtext-20")
    assert client.sent("create_endpoint")["EndpointName"] == one.endpoint_name


def test_an_update_replaces_what_is_behind_a_name(session: Session, client: RecordingClient) -> None:
    client.answers["describe_endpoint"] = {"EndpointStatus": "InService"}
    model(session, name="m").deploy(1, "ml.c5.large", endpoint_name="e", update_endpoint=True)
    assert client.sent("update_endpoint")["EndpointName"] == "e"
    assert "create_endpoint" not in client.names()


def test_a_transformer_creates_the_model_once(session: Session, client: RecordingClient) -> None:
    one = model(session)
    first, second = one.transformer(1, "ml.c5.large"), one.transformer(1, "ml.c5.large")
    assert first.model_name == second.model_name == client.sent("create_model")["ModelName"]
    one.delete_model()
    assert client.sent("delete_model") == {"ModelName": one.name}


def test_a_predictor_class_of_ones_own(session: Session) -> None:
    made = model(session, predictor_cls=lambda name, session: _Own(name)).deploy(
        1, "ml.x.y", endpoint_name="e", wait=False
    )
    assert made.name == "e"


class _Own:
    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"entry_point": "x.py"}, "Script mode"),
        ({"resources": object()}, "inference components"),
        ({"additional_model_data_sources": []}, "additional_model_data_sources"),
    ],
)
def test_models_that_cannot_be(session: Session, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(NotSupportedError, match=message):
        model(session, **arguments)


@pytest.mark.parametrize(
    "name",
    ["data_capture_config", "async_inference_config", "serverless_inference_config", "explainer_config", "resources"],
)
def test_deployments_that_cannot_be(session: Session, client: RecordingClient, name: str) -> None:
    with pytest.raises(NotSupportedError, match=name):
        model(session).deploy(1, "ml.c5.large", **{name: object()})
    assert client.calls == []


def test_what_is_missing_is_named(session: Session) -> None:
    with pytest.raises(ArgumentError, match="image_uri is missing"):
        Model(sagemaker_session=session)
    with pytest.raises(ArgumentError, match="initial_instance_count and instance_type are missing"):
        model(session).deploy()
    with pytest.raises(ArgumentError, match="model_data is missing"):
        Model("blazingtext", sagemaker_session=session).create()
    with pytest.raises(ArgumentError, match="was not created"):
        model(session).delete_model()
    with pytest.raises(ArgumentError, match="upload it first"):
        Model("blazingtext", Path("model.tar.gz"), sagemaker_session=session).create()
