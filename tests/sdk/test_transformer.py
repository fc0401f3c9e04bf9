from __future__ import annotations

from typing import Any

import pytest

from tests.sdk.recording import NOW, RecordingBoto, RecordingClient, RefusedError
from wildsage.sdk.exceptions import ArgumentError, NotSupportedError, UnexpectedStatusException
from wildsage.sdk.session import Session
from wildsage.sdk.transformer import Transformer


def job(status: str = "Completed", **members: Any) -> dict[str, Any]:
    return {
        "TransformJobName": "job-2026-01-02-03-04-05-678",
        "TransformJobStatus": status,
        "ModelName": "m",
        "BatchStrategy": "SingleRecord",
        "MaxPayloadInMB": 2,
        "TransformOutput": {"S3OutputPath": "s3://b/out", "AssembleWith": "Line", "Accept": "text/csv"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.c5.large"},
        "CreationTime": NOW,
        **members,
    }


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient("sagemaker", {"describe_transform_job": job()})


@pytest.fixture
def session(client: RecordingClient) -> Session:
    logs = RecordingClient("logs", {"describe_log_streams": {"logStreams": []}})
    return Session(RecordingBoto(logs=logs), client, default_bucket="bucket")


def test_the_least_request(session: Session, client: RecordingClient) -> None:
    one = Transformer("m-2026-01-02-03-04-05-678", 1, "ml.c5.large", sagemaker_session=session)
    one.transform("s3://b/in", wait=False)
    request = client.sent("create_transform_job")
    name = request.pop("TransformJobName")
    assert name.startswith("m-20")
    assert request == {
        "ModelName": "m-2026-01-02-03-04-05-678",
        "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/in"}}},
        "TransformOutput": {"S3OutputPath": f"s3://bucket/{name}"},
        "TransformResources": {"InstanceCount": 1, "InstanceType": "ml.c5.large"},
    }
    one.transform("s3://b/in", wait=False, job_name="second")
    assert one.output_path == "s3://bucket/second"


def test_the_fullest_request(session: Session, client: RecordingClient) -> None:
    one = Transformer(
        "m", 2, "ml.c5.large", strategy="MultiRecord", assemble_with="Line", output_path="s3://b/out",
        output_kms_key="k", accept="text/csv", max_concurrent_transforms=3, max_payload=4, tags={"a": "b"},
        env={"A": "1"}, base_transform_job_name="base", sagemaker_session=session, volume_kms_key="v",
    )  # fmt: skip
    one.transform(
        "s3://b/in", "ManifestFile", "text/csv", "Gzip", "Line", "mine", "$[0]", "$[1]", "Input",
        {"ExperimentName": "e"}, {"InvocationsMaxRetries": 1}, wait=True, logs=False,
    )  # fmt: skip
    assert client.sent("create_transform_job") == {
        "TransformJobName": "mine",
        "ModelName": "m",
        "BatchStrategy": "MultiRecord",
        "MaxConcurrentTransforms": 3,
        "MaxPayloadInMB": 4,
        "Environment": {"A": "1"},
        "Tags": [{"Key": "a", "Value": "b"}],
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": "s3://b/in"}},
            "ContentType": "text/csv",
            "CompressionType": "Gzip",
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": "s3://b/out", "KmsKeyId": "k", "AssembleWith": "Line", "Accept": "text/csv"
        },
        "TransformResources": {"InstanceCount": 2, "InstanceType": "ml.c5.large", "VolumeKmsKeyId": "v"},
        "DataProcessing": {"InputFilter": "$[0]", "OutputFilter": "$[1]", "JoinSource": "Input"},
        "ExperimentConfig": {"ExperimentName": "e"},
        "ModelClientConfig": {"InvocationsMaxRetries": 1},
    }  # fmt: skip


def test_a_failed_job_raises_its_reason(session: Session, client: RecordingClient) -> None:
    client.answers["describe_transform_job"] = job("Failed", FailureReason="ClientError: line 3")
    one = Transformer("m", 1, "ml.c5.large", sagemaker_session=session)
    for logs in (False, True):
        with pytest.raises(UnexpectedStatusException, match=r"Error for Transform job .*line 3"):
            one.transform("s3://b/in", logs=logs)


def test_stopping(session: Session, client: RecordingClient) -> None:
    one = Transformer("m", 1, "ml.c5.large", sagemaker_session=session)
    with pytest.raises(ArgumentError, match="there is no job yet"):
        one.stop_transform_job()
    one.transform("s3://b/in", wait=False)
    client.answers["stop_transform_job"] = RefusedError("ValidationException", "it has ended")
    one.stop_transform_job()
    client.answers["stop_transform_job"] = RefusedError("InternalFailure", "no")
    with pytest.raises(RefusedError):
        one.stop_transform_job()


def test_attach(session: Session) -> None:
    one = Transformer.attach("job-2026-01-02-03-04-05-678", session)
    assert (one.model_name, one.strategy, one.max_payload, one.output_path) == ("m", "SingleRecord", 2, "s3://b/out")
    assert one.base_transform_job_name == "job"
    one.wait(logs=False)


@pytest.mark.parametrize(
    "arguments",
    [{"split_type": "line"}, {"compression_type": "zip"}, {"join_source": "input"}, {"data_type": "S3"}],
)
def test_words_that_are_not_allowed(session: Session, client: RecordingClient, arguments: dict[str, str]) -> None:
    one = Transformer("m", 1, "ml.c5.large", sagemaker_session=session)
    with pytest.raises(ArgumentError, match=f"{next(iter(arguments))} = .* is not allowed"):
        one.transform("s3://b/in", **arguments)
    assert client.calls == []


def test_data_capture_is_not_supported(session: Session) -> None:
    one = Transformer("m", 1, "ml.c5.large", sagemaker_session=session)
    with pytest.raises(NotSupportedError, match="batch_data_capture_config"):
        one.transform("s3://b/in", batch_data_capture_config=object())
    with pytest.raises(ArgumentError, match='did you mean "MultiRecord"'):
        Transformer("m", 1, "ml.c5.large", strategy="Multirecord", sagemaker_session=session)
