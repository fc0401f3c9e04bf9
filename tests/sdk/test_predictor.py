from __future__ import annotations

import io
from typing import Any

import pytest

from tests.sdk.recording import RecordingBoto, RecordingClient, RefusedError
from wildsage.sdk.deserializers import JSONDeserializer
from wildsage.sdk.exceptions import NotSupportedError
from wildsage.sdk.predictor import Predictor
from wildsage.sdk.serializers import CSVSerializer, JSONSerializer
from wildsage.sdk.session import Session


@pytest.fixture
def runtime() -> RecordingClient:
    return RecordingClient(
        "sagemaker-runtime",
        {"invoke_endpoint": lambda _: {"Body": io.BytesIO(b'[{"a": 1}]'), "ContentType": "application/json"}},
    )


@pytest.fixture
def predictor(runtime: RecordingClient) -> Predictor:
    client = RecordingClient(
        "sagemaker",
        {
            "describe_endpoint": {"EndpointConfigName": "config", "EndpointStatus": "InService"},
            "describe_endpoint_config": {
                "ProductionVariants": [
                    {"VariantName": "AllTraffic", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.x.y"}
                ]
            },
        },
    )
    return Predictor("name", Session(RecordingBoto(), client, runtime))


def test_objects_go_and_come_as_objects(predictor: Predictor, runtime: RecordingClient) -> None:
    assert predictor.predict({"instances": ["nice"]}) == [{"a": 1}]
    assert runtime.sent("invoke_endpoint") == {
        "EndpointName": "name",
        "ContentType": "application/json",
        "Accept": "application/json",
        "Body": '{"instances": ["nice"]}',
    }


@pytest.mark.parametrize("data", ['{"instances": ["nice"]}', b"\x00"])
def test_bodies_go_and_come_as_they_are(predictor: Predictor, runtime: RecordingClient, data: Any) -> None:
    assert predictor.predict(data) == b'[{"a": 1}]'
    assert runtime.sent("invoke_endpoint") == {
        "EndpointName": "name",
        "ContentType": "application/octet-stream",
        "Accept": "*/*",
        "Body": data,
    }


def test_with_a_serializer_alone_bytes_come_back(predictor: Predictor, runtime: RecordingClient) -> None:
    predictor.serializer = JSONSerializer()
    assert predictor.predict({"instances": ["nice"]}) == b'[{"a": 1}]'
    predictor.serializer = CSVSerializer()
    assert predictor.predict([[1, 2]]) == b'[{"a": 1}]'
    assert [(request["ContentType"], request["Accept"]) for _, request in runtime.calls] == [
        ("application/json", "*/*"),
        ("text/csv", "*/*"),
    ]


def test_with_a_deserializer_alone_text_is_still_a_body(predictor: Predictor, runtime: RecordingClient) -> None:
    predictor.deserializer = JSONDeserializer()
    assert predictor.predict('{"x": 1}') == [{"a": 1}]
    assert predictor.predict({"x": 1}) == [{"a": 1}]
    assert [request["Body"] for _, request in runtime.calls] == ['{"x": 1}', '{"x": 1}']


def test_what_is_set_by_hand_wins(predictor: Predictor, runtime: RecordingClient) -> None:
    predictor.content_type = "text/plain"
    predictor.accept = ("application/jsonlines", "text/csv")
    predictor.predict("nice")
    predictor.predict({"x": 1}, initial_args={"Accept": "x/y"}, target_variant="v", inference_id="i",
                      custom_attributes="c", target_model="t")  # fmt: skip
    first, second = (request for _, request in runtime.calls)
    assert (first["ContentType"], first["Accept"]) == ("text/plain", "application/jsonlines, text/csv")
    assert second["ContentType"] == "text/plain"
    assert second["Accept"] == "x/y"
    assert [second[name] for name in ("TargetVariant", "InferenceId", "CustomAttributes", "TargetModel")] == list(
        "vict"
    )


@pytest.mark.parametrize("model_first", [True, False])
def test_endpoint_and_model_go_in_any_order(predictor: Predictor, model_first: bool) -> None:
    client = predictor.sagemaker_session.sagemaker_client
    steps = [predictor.delete_model, predictor.delete_endpoint]
    for step in steps if model_first else steps[::-1]:
        step()
    assert client.sent("delete_model") == {"ModelName": "m"}
    assert client.sent("delete_endpoint") == {"EndpointName": "name"}
    assert client.sent("delete_endpoint_config") == {"EndpointConfigName": "config"}


def test_the_configuration_can_stay(predictor: Predictor) -> None:
    predictor.delete_endpoint(delete_endpoint_config=False)
    assert "delete_endpoint_config" not in predictor.sagemaker_session.sagemaker_client.names()


def test_an_endpoint_whose_configuration_is_gone_is_deleted_all_the_same(predictor: Predictor) -> None:
    client = predictor.sagemaker_session.sagemaker_client
    client.answers["describe_endpoint_config"] = RefusedError("ValidationException", "Could not find endpoint config")
    predictor.delete_endpoint()
    assert client.sent("delete_endpoint") == {"EndpointName": "name"}


def test_update_puts_another_model_behind_it(predictor: Predictor) -> None:
    client = predictor.sagemaker_session.sagemaker_client
    predictor.update_endpoint(model_name="new", initial_instance_count=2)
    request = client.sent("create_endpoint_config")
    assert request["ProductionVariants"] == [
        {"VariantName": "AllTraffic", "ModelName": "new", "InitialInstanceCount": 2, "InstanceType": "ml.x.y"}
    ]
    assert client.sent("update_endpoint") == {
        "EndpointName": "name",
        "EndpointConfigName": request["EndpointConfigName"],
    }


def test_what_is_not_supported_says_so(predictor: Predictor) -> None:
    for use in (
        lambda: predictor.predict("x", component_name="c"),
        lambda: Predictor("x", predictor.sagemaker_session, component_name="c"),
        predictor.endpoint_context,
        lambda: predictor.predict_stream("x"),
        lambda: predictor.update_endpoint(max_instance_count=3),
    ):
        with pytest.raises(NotSupportedError, match="not supported by this version"):
            use()
