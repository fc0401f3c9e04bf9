"""What an estimator sends, held to botocore's service model and to what sagemaker 2.257.7 sends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.sdk.recording import NOW, RecordingBoto, RecordingClient, RefusedError
from wildsage.sdk.estimator import Estimator
from wildsage.sdk.exceptions import ArgumentError, CapacityError, NotSupportedError, UnexpectedStatusException
from wildsage.sdk.inputs import FileSystemInput, TrainingInput
from wildsage.sdk.session import Session

IMAGE = "811284229777.dkr.ecr.us-east-1.amazonaws.com/blazingtext:1"
ROLE = "arn:aws:iam::123456789012:role/Trainer"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:training-job/job"


def job(status: str = "Completed", **members: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "job",
        "TrainingJobArn": ARN,
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "RoleArn": ROLE,
        "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/job/output/model.tar.gz"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.c5.xlarge", "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        "AlgorithmSpecification": {"TrainingInputMode": "File", "TrainingImage": IMAGE},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/", "KmsKeyId": ""},
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        **members,
    }


@pytest.fixture
def client() -> RecordingClient:
    return RecordingClient("sagemaker", {"describe_training_job": job(), "list_tags": {"Tags": []}})


@pytest.fixture
def session(client: RecordingClient) -> Session:
    return Session(RecordingBoto(), client, default_bucket="bucket")


def estimator(session: Session, **arguments: Any) -> Estimator:
    base = {"role": ROLE, "instance_count": 1, "instance_type": "ml.c5.xlarge", "sagemaker_session": session}
    return Estimator(IMAGE, **{**base, **arguments})


def test_the_members_that_are_always_sent(session: Session, client: RecordingClient) -> None:
    estimator(session, output_path="s3://bucket/out").fit({"train": "s3://bucket/train.txt"}, wait=False)
    request = client.sent("create_training_job")
    assert re.fullmatch(r"blazingtext-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-\d{3}", request.pop("TrainingJobName"))
    assert request == {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.c5.xlarge", "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "InputDataConfig": [
            {
                "ChannelName": "train",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": "s3://bucket/train.txt",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
    }


def test_hyperparameters_are_texts_as_str_makes_them(session: Session, client: RecordingClient) -> None:
    one = estimator(session, hyperparameters={"mode": "supervised"})
    one.set_hyperparameters(epochs=10, learning_rate=0.05)
    one.set_hyperparameters(early_stopping=True, epochs=5, sizes=[1, 2])
    assert one.hyperparameters()["epochs"] == 5
    one.fit("s3://bucket/x", wait=False)
    assert client.sent("create_training_job")["HyperParameters"] == {
        "mode": "supervised",
        "epochs": "5",
        "learning_rate": "0.05",
        "early_stopping": "True",
        "sizes": "[1, 2]",
    }


def test_everything_that_can_be_set_is_sent(session: Session, client: RecordingClient) -> None:
    one = estimator(
        session,
        role=ROLE,
        volume_kms_key="k1",
        output_kms_key="k2",
        max_run=60,
        max_wait=120,
        use_spot_instances=True,
        tags={"team": "a"},
        subnets=["subnet-1"],
        security_group_ids=["sg-1"],
        model_uri="s3://bucket/model.tar.gz",
        model_channel_name="old",
        metric_definitions=[{"Name": "loss", "Regex": "loss=(.*)"}],
        encrypt_inter_container_traffic=True,
        checkpoint_s3_uri="s3://bucket/check",
        checkpoint_local_path="/opt/ml/checkpoints",
        enable_network_isolation=True,
        environment={"A": 1},
        max_retry_attempts=3,
        keep_alive_period_in_seconds=5,
        disable_output_compression=True,
        enable_remote_debug=True,
        enable_session_tag_chaining=True,
        enable_infra_check=True,
        disable_profiler=True,
        debugger_hook_config={"S3OutputPath": "s3://bucket/debug"},
        tensorboard_output_config={"S3OutputPath": "s3://bucket/tb"},
        training_repository_access_mode="Vpc",
        training_repository_credentials_provider_arn="arn:aws:lambda:eu-west-1:123456789012:function:f",
    )
    one.fit({"train": TrainingInput("s3://bucket/x", input_mode="Pipe")}, wait=False, job_name="mine",
            experiment_config={"ExperimentName": "e"})  # fmt: skip
    request = client.sent("create_training_job")
    assert request["TrainingJobName"] == "mine"
    assert request["RoleArn"] == ROLE
    assert request["ResourceConfig"]["VolumeKmsKeyId"] == "k1"
    assert request["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 5
    assert request["OutputDataConfig"] == {
        "S3OutputPath": "s3://bucket/", "KmsKeyId": "k2", "CompressionType": "NONE"
    }  # fmt: skip
    assert request["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}
    assert request["EnableManagedSpotTraining"] is True
    assert request["VpcConfig"] == {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert request["CheckpointConfig"] == {"S3Uri": "s3://bucket/check", "LocalPath": "/opt/ml/checkpoints"}
    assert request["Environment"] == {"A": "1"}
    assert request["RetryStrategy"] == {"MaximumRetryAttempts": 3}
    assert request["EnableNetworkIsolation"] is True
    assert request["EnableInterContainerTrafficEncryption"] is True
    assert request["Tags"] == [{"Key": "team", "Value": "a"}]
    assert request["ExperimentConfig"] == {"ExperimentName": "e"}
    assert request["ProfilerConfig"] == {"DisableProfiler": True}
    assert request["InputDataConfig"][1] == {
        "ChannelName": "old",
        "ContentType": "application/x-sagemaker-model",
        "InputMode": "File",
        "DataSource": {
            "S3DataSource": {
                "S3DataType": "S3Prefix",
                "S3Uri": "s3://bucket/model.tar.gz",
                "S3DataDistributionType": "FullyReplicated",
            }
        },
    }


@pytest.mark.parametrize(("image", "name"), [(IMAGE, "train"), ("blazing_text", "train"), ("my/image:1", "training")])
def test_where_a_single_input_goes(session: Session, client: RecordingClient, image: str, name: str) -> None:
    one = Estimator(image, ROLE, 1, "ml.c5.xlarge", sagemaker_session=session)
    for inputs in ("s3://bucket/x", TrainingInput("s3://bucket/x")):
        client.calls.clear()
        one.fit(inputs, wait=False)
        assert [found["ChannelName"] for found in client.sent("create_training_job")["InputDataConfig"]] == [name]


def test_local_inputs_become_absolute_paths(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = RecordingClient("sagemaker", {})
    client.endpoint_url = lambda name: name  # what tells a platform from boto3's client
    client.home = home
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.txt").write_text("x")
    set_ = {"hyperparameters": {"mode": "cbow"}, "output_path": "out", "checkpoint_s3_uri": tmp_path / "check"}
    one = estimator(Session(None, client), **set_)
    one.fit({"train": "a b.txt", "val": Path("a b.txt"), "test": TrainingInput("file://a%20b.txt")}, wait=False)
    request = client.sent("create_training_job")
    places = [found["DataSource"]["S3DataSource"]["S3Uri"] for found in request["InputDataConfig"]]
    assert places == [str(tmp_path / "a b.txt")] * 3
    assert request["OutputDataConfig"]["S3OutputPath"] == str(tmp_path / "out")
    assert request["CheckpointConfig"]["S3Uri"] == str(tmp_path / "check")


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"train": 5}, 'channel "train" can not be a int'),
        ({"train": FileSystemInput("fs-1", "EFS", "/x")}, "Mount the file system"),
        ({"train": TrainingInput("s3://b/x", instance_groups=["a"])}, "instance_groups is not supported"),
        ({"train": "train.txt"}, "upload it first"),
        (["s3://b/x"], 'channel "train" can not be a list'),
    ],
)
def test_inputs_that_cannot_be(session: Session, inputs: Any, message: str) -> None:
    with pytest.raises((ArgumentError, NotSupportedError), match=message):
        estimator(session).fit(inputs, wait=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"entry_point": "train.py"}, r"Script mode \(entry_point\) is not supported"),
        ({"source_dir": "src", "dependencies": ["x"]}, r"Script mode \(source_dir, dependencies\)"),
        ({"instance_groups": []}, "instance_groups"),
        ({"rules": [object()]}, "rules"),
        ({"container_entry_point": ["x"]}, "container_entry_point"),
        ({"instance_count": None}, "instance_count and instance_type are missing"),
        ({"input_mode": "Fil"}, 'did you mean "File"'),
        ({"max_run": 60, "max_wait": 5}, "60 .max_run. or more"),
        ({"checkpoint_local_path": "/x"}, "checkpoint_s3_uri"),
        ({"debugger_hook_config": 5}, "debugger_hook_config can not be a int"),
    ],
)
def test_arguments_that_cannot_be(session: Session, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ArgumentError, NotSupportedError), match=message):
        estimator(session, **arguments)


def test_debugger_hook_config_may_be_off(session: Session, client: RecordingClient) -> None:
    estimator(session, debugger_hook_config=False).fit("s3://b/x", wait=False)
    assert "DebugHookConfig" not in client.sent("create_training_job")


def test_a_model_channel_given_twice(session: Session) -> None:
    with pytest.raises(ArgumentError, match='"model" is given twice'):
        estimator(session, model_uri="s3://b/m").fit({"train": "s3://b/x", "model": "s3://b/y"}, wait=False)


def test_a_failed_job_raises_with_its_reason_alone(session: Session, client: RecordingClient) -> None:
    client.answers["describe_training_job"] = job("Failed", FailureReason="ClientError: train.txt, line 3: bad")
    with pytest.raises(
        UnexpectedStatusException, match=r"Failed\. Reason: ClientError: train\.txt, line 3: bad$"
    ) as caught:
        estimator(session).fit("s3://b/x", logs=None)
    assert caught.value.actual_status == "Failed"
    assert "Completed" in caught.value.allowed_statuses
    assert isinstance(caught.value, ValueError)
    client.answers["describe_training_job"] = job("Failed", FailureReason="CapacityError: no room")
    with pytest.raises(CapacityError):
        estimator(session).fit("s3://b/x", logs=False)


def test_an_interrupt_leaves_the_job_and_says_how_to_go_on(
    session: Session, client: RecordingClient, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(_: Any) -> Any:
        raise KeyboardInterrupt

    client.answers["describe_training_job"] = interrupt
    one = estimator(session)
    with pytest.raises(KeyboardInterrupt):
        one.fit("s3://b/x", job_name="mine")
    assert one.latest_training_job is not None
    assert one.latest_training_job.name == "mine"
    assert "stop_training_job" not in client.names()
    text = capsys.readouterr().out
    assert 'Estimator.attach("mine")' in text
    assert "wildsage stop mine" in text


def test_attach_restores_the_settings(session: Session, client: RecordingClient) -> None:
    client.answers["describe_training_job"] = job(
        TrainingJobName="base-2026-01-02-03-04-05-678",
        HyperParameters={"mode": "supervised"},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90},
        VpcConfig={"Subnets": ["a"], "SecurityGroupIds": ["b"]},
        CheckpointConfig={"S3Uri": "s3://b/c", "LocalPath": "/x"},
        RetryStrategy={"MaximumRetryAttempts": 2},
        Environment={"A": "1"},
        InputDataConfig=[
            {"ChannelName": "model", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/m", "S3DataType": "S3Prefix"}}}
        ],
    )
    client.answers["list_tags"] = {"Tags": [{"Key": "a", "Value": "b"}]}
    one = Estimator.attach("base-2026-01-02-03-04-05-678", session)
    assert one.image_uri == IMAGE
    assert one.base_job_name == "base"
    assert one.hyperparameters() == {"mode": "supervised"}
    assert one.tags == [{"Key": "a", "Value": "b"}]
    assert one.model_uri == "s3://b/m"
    assert one.get_vpc_config() == {"Subnets": ["a"], "SecurityGroupIds": ["b"]}
    assert (one.max_run, one.max_wait, one.max_retry_attempts) == (60, 90, 2)
    assert one.model_data == "s3://bucket/job/output/model.tar.gz"
    one.fit("s3://b/x", wait=False)  # and it can train again with them
    assert client.sent("create_training_job")["CheckpointConfig"] == {"S3Uri": "s3://b/c", "LocalPath": "/x"}


def test_there_is_no_model_before_there_is_one(session: Session, client: RecordingClient) -> None:
    one = estimator(session)
    for use in (
        lambda: one.model_data,
        one.deploy,
        one.logs,
        one.stop_training_job,
        lambda: one.training_job_analytics,
    ):
        with pytest.raises(ArgumentError, match="has not trained yet"):
            use()
    client.answers["describe_training_job"] = job("InProgress", ModelArtifacts={"S3ModelArtifacts": ""})
    one.fit("s3://b/x", wait=False)
    with pytest.raises(ArgumentError, match=r"has no model \(InProgress\)"):
        _ = one.model_data


def test_what_deploy_sends(session: Session, client: RecordingClient) -> None:
    client.answers["describe_endpoint"] = [
        RefusedError("ValidationException", "Could not find endpoint"),
        RefusedError("ValidationException", "Could not find endpoint"),
        {"EndpointStatus": "InService"},
    ]
    one = estimator(session, tags={"a": "b"})
    one.fit("s3://b/x", wait=False)
    predictor = one.deploy(1, "ml.c5.xlarge", endpoint_name="mine", model_name="model")
    assert predictor.endpoint_name == "mine"
    tags = [{"Key": "a", "Value": "b"}]
    assert client.sent("create_model") == {
        "ModelName": "model",
        "ExecutionRoleArn": ROLE,
        "PrimaryContainer": {
            "Image": IMAGE, "Environment": {}, "ModelDataUrl": "s3://bucket/job/output/model.tar.gz"
        },
        "Tags": tags,
    }  # fmt: skip
    assert client.sent("create_endpoint_config") == {
        "EndpointConfigName": "mine",
        "ProductionVariants": [
            {
                "VariantName": "AllTraffic",
                "ModelName": "model",
                "InitialVariantWeight": 1,
                "InitialInstanceCount": 1,
                "InstanceType": "ml.c5.xlarge",
            }
        ],
        "Tags": tags,
    }
    assert client.sent("create_endpoint") == {"EndpointName": "mine", "EndpointConfigName": "mine", "Tags": tags}
    client.calls.clear()
    with pytest.raises(ArgumentError, match=r'there is an endpoint "mine" already \(InService\)'):
        one.deploy(1, "ml.c5.xlarge", endpoint_name="mine")
    assert "create_model" not in client.names()
