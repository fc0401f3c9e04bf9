"""Endpoints as real servers."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.platform.conftest import CheckedPlatform, deploy, in_status, train
from tests.waiting import until
from wildsage.engines.run_folder import read_record
from wildsage.platform.errors import ServiceError


@pytest.fixture
def archive(platform: CheckedPlatform, words: Path) -> str:
    uri: str = train(platform, "trained", words)["ModelArtifacts"]["S3ModelArtifacts"]
    return uri


def counts(platform: CheckedPlatform, name: str, *instances: str) -> list[float]:
    body = json.dumps({"instances": instances})
    answer = platform.runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType="application/json")
    return [entry["count"] for entry in json.loads(answer["Body"].read())]


def kill_run(folder: Path) -> None:
    """SIGKILL to supervisor and server at once."""
    record = read_record(folder)
    assert record is not None
    assert record.command_pid is not None
    os.kill(record.pid, signal.SIGKILL)
    with suppress(ProcessLookupError):  # the kernel was faster: it ends the command with its supervisor
        os.killpg(record.command_pid, signal.SIGKILL)


def test_an_endpoint_from_model_to_answer(platform: CheckedPlatform, archive: str, home: Path) -> None:
    deploy(platform, "one", archive)
    # The first request waits for the server, so that deploy(wait=False) and predict go together.
    assert counts(platform, "one", "a", "b", "z") == [2.0, 1.0, 0]
    endpoint = in_status(platform, "one", "InService")
    assert endpoint["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    url = platform.endpoint_url("one")
    request = Request(url, data=b'{"instances": ["a"]}', headers={"Content-Type": "application/json"})
    with urlopen(request) as response:
        assert json.loads(response.read()) == [{"count": 2.0}]
    config = platform.describe_endpoint_config(EndpointConfigName="one")
    assert config["ProductionVariants"][0]["ModelName"] == "one"
    assert platform.describe_model(ModelName="one")["PrimaryContainer"]["ModelDataUrl"] == archive
    # As the SDK does it: the configuration first, then the endpoint.
    platform.delete_endpoint_config(EndpointConfigName="one")
    platform.delete_endpoint(EndpointName="one")
    platform.delete_model(ModelName="one")
    assert platform.list_endpoints()["Endpoints"] == []
    assert not (home / "endpoints" / "one").exists()
    with pytest.raises(ServiceError, match="Could not find"):
        platform.describe_endpoint(EndpointName="one")
    with pytest.raises(ServiceError, match="not found"):
        counts(platform, "one", "a")


def test_a_bad_request_is_a_model_error(platform: CheckedPlatform, archive: str) -> None:
    deploy(platform, "picky", archive)
    with pytest.raises(ServiceError) as error:
        platform.runtime.invoke_endpoint(EndpointName="picky", Body=b"{", ContentType="application/json")
    assert error.value.code == "ModelError"
    assert error.value.response["OriginalStatusCode"] == 400
    assert error.value.status == 424
    assert counts(platform, "picky", "a") == [2.0]


def test_names_in_use(platform: CheckedPlatform, archive: str) -> None:
    deploy(platform, "twice", archive)
    container = {"Image": "counting", "ModelDataUrl": archive}
    with pytest.raises(ServiceError, match="Cannot create already existing model"):
        platform.create_model(ModelName="twice", PrimaryContainer=container)
    variant = {"VariantName": "v", "ModelName": "twice"}
    with pytest.raises(ServiceError, match="Cannot create already existing endpoint config"):
        platform.create_endpoint_config(EndpointConfigName="twice", ProductionVariants=[variant])
    with pytest.raises(ServiceError, match="Cannot create already existing endpoint"):
        platform.create_endpoint(EndpointName="twice", EndpointConfigName="twice")
    assert counts(platform, "twice", "a") == [2.0]


def test_what_is_not_there_says_so(platform: CheckedPlatform, archive: str) -> None:
    platform.create_model(ModelName="model", PrimaryContainer={"Image": "counting", "ModelDataUrl": archive})
    variant: dict[str, Any] = {"VariantName": "v", "ModelName": "model", "InitialInstanceCount": 1}
    for refused, part in (
        (
            {"ProductionVariants": [{**variant, "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}]},
            "Ser",
        ),
        ({"ProductionVariants": [variant, {**variant, "VariantName": "w"}]}, "2 ProductionVariants"),
        ({"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/p"}}}, "AsyncInferenceConfig"),
    ):
        request = {"EndpointConfigName": "c", "ProductionVariants": [variant], **refused}
        with pytest.raises(ServiceError, match="not supported yet") as error:
            platform.create_endpoint_config(**request)
        assert part in str(error.value)
    with pytest.raises(ServiceError, match=r'Could not find model .*did you mean "model"'):
        platform.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[{**variant, "ModelName": "mode"}])
    containers = [{"Image": "counting", "ModelDataUrl": archive}] * 2
    with pytest.raises(ServiceError, match="not supported yet"):
        platform.create_model(ModelName="pipeline", Containers=containers)
    with pytest.raises(ServiceError, match="does not exist"):
        platform.create_model(ModelName="none", PrimaryContainer={"Image": "counting", "ModelDataUrl": archive + "x"})
    platform.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    platform.create_endpoint(EndpointName="e", EndpointConfigName="c")
    with pytest.raises(ServiceError, match="UpdateEndpoint is not supported yet"):
        platform.update_endpoint(EndpointName="e", EndpointConfigName="c")


def test_a_model_that_cannot_be_loaded(platform: CheckedPlatform, home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "counts.json").write_text("[]")
    deploy(platform, "broken", str(broken))
    failed = in_status(platform, "broken", "Failed")
    assert failed["FailureReason"].startswith("ClientError: ")
    assert failed["FailureReason"].endswith("counts.json: there are no counts in it")
    log = (home / "endpoints" / "broken" / "log").read_text()
    assert log.count("ClientError: ") == 1, "it was started again"
    with pytest.raises(ServiceError, match="status Failed"):
        counts(platform, "broken", "a")
    platform.delete_endpoint(EndpointName="broken")
    assert platform.list_endpoints()["Endpoints"] == []


def test_a_model_that_breaks_its_loader_is_tried_again(platform: CheckedPlatform, home: Path, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "counts.json").write_text("{")
    deploy(platform, "broken", str(broken))
    reason = in_status(platform, "broken", "Failed")["FailureReason"]
    assert reason.startswith("AlgorithmError: an unexpected error, JSONDecodeError: ")
    assert (home / "endpoints" / "broken" / "log").read_text().count("AlgorithmError: ") > 1


def test_an_archive_that_is_none(platform: CheckedPlatform, tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_text("no archive")
    deploy(platform, "noise", str(tmp_path / "model.tar.gz"))
    assert "ClientError: " in in_status(platform, "noise", "Failed")["FailureReason"]


def test_after_a_kill_of_everything_it_is_back_on_its_port(platform: CheckedPlatform, archive: str, home: Path) -> None:
    deploy(platform, "phoenix", archive)
    in_status(platform, "phoenix", "InService")
    url = platform.endpoint_url("phoenix")
    kill_run(home / "endpoints" / "phoenix")
    # Configuration and model may be gone: the endpoint keeps what it needs.
    platform.delete_endpoint_config(EndpointConfigName="phoenix")
    platform.delete_model(ModelName="phoenix")
    Path(archive).unlink()
    assert counts(platform, "phoenix", "a") == [2.0]
    assert platform.endpoint_url("phoenix") == url
    in_status(platform, "phoenix", "InService")


def test_the_worker_count_comes_from_the_environment(
    platform: CheckedPlatform, archive: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(platform, "two", archive, Environment={"SAGEMAKER_MODEL_SERVER_WORKERS": "2"})
    command = json.loads((home / "endpoints" / "two" / "specification.json").read_text())["command"]
    assert command[-2:] == ["--workers", "2"]
    monkeypatch.setenv("SAGEMAKER_MODEL_SERVER_WORKERS", "many")
    variant = {"VariantName": "v", "ModelName": "three"}
    platform.create_model(ModelName="three", PrimaryContainer={"Image": "counting", "ModelDataUrl": archive})
    platform.create_endpoint_config(EndpointConfigName="three", ProductionVariants=[variant])
    with pytest.raises(ServiceError, match='"many" is not allowed'):
        platform.create_endpoint(EndpointName="three", EndpointConfigName="three")
    until(lambda: platform.describe_endpoint(EndpointName="three")["EndpointStatus"] == "Failed")


def test_an_invocation_that_wants_more_than_there_is_says_so(platform: CheckedPlatform) -> None:
    for member, value in {"TargetModel": "a.tar.gz", "SessionId": "NEW_SESSION", "EnableExplanations": "true"}.items():
        with pytest.raises(ServiceError, match=f"{member}: not supported yet"):
            platform.runtime.invoke_endpoint(EndpointName="any", Body=b"", **{member: value})


def test_logs_of_an_endpoint(platform: CheckedPlatform, archive: str) -> None:
    deploy(platform, "talks", archive)
    in_status(platform, "talks", "InService")
    group = "/aws/sagemaker/Endpoints/talks"
    stream = platform.logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    assert stream.startswith("AllTraffic/")
    found = platform.logs.filter_log_events(
        logGroupName=group, logStreamNamePrefix="AllTraffic/", filterPattern="Serving"
    )
    assert "counting" in found["events"][0]["message"]
