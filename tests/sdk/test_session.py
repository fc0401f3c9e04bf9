from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sdk.recording import RecordingBoto, RecordingClient, RefusedError
from wildsage.platform import names
from wildsage.platform.files import beside_name
from wildsage.sdk.exceptions import ArgumentError, NotSupportedError, UnexpectedStatusException
from wildsage.sdk.s3 import S3Downloader, S3Uploader, parse_s3_url, s3_path_join
from wildsage.sdk.session import Session, container_def, get_execution_role, production_variant


class Embedded(RecordingClient):
    """What a session takes for a platform."""

    def __init__(self, home: Path, answers: dict[str, Any] | None = None) -> None:
        super().__init__("sagemaker", answers)
        self.home = home
        self.runtime, self.logs, self.cloudwatch = object(), object(), object()

    def endpoint_url(self, name: str) -> str:
        return f"http://127.0.0.1:1/{name}"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    return Session(sagemaker_client=Embedded(tmp_path / "home"))


# -- files --


def test_a_file_goes_up_and_comes_down(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    file.write_text("one")
    uri = session.upload_data(str(file), bucket="mine", key_prefix="a/b")
    assert uri == "s3://mine/a/b/train.txt"
    file.write_text("two")
    assert session.read_s3_file("mine", "a/b/train.txt") == "one"  # a copy, not a link
    assert session.upload_data(file, bucket="mine", key_prefix="a/b") == uri
    assert session.read_s3_file("mine", "a/b/train.txt") == "two"
    assert session.list_s3_files("mine", "a") == ["a/b/train.txt"]
    (copy,) = session.download_data(tmp_path / "down", "mine", "a/b/train.txt")
    assert copy == str(tmp_path / "down" / "train.txt")
    assert Path(copy).read_text() == "two"


def test_a_folder_keeps_its_shape(session: Session, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "x").write_text("1")
    (folder / "deep" / "y").write_text("2")
    assert session.upload_data(folder) == "s3://sagemaker-us-east-1-000000000000/data"
    assert session.list_s3_files(session.default_bucket(), "") == ["data/deep/y", "data/x"]
    copies = session.download_data(tmp_path / "down", session.default_bucket(), "data")
    assert copies == [str(tmp_path / "down" / "deep" / "y"), str(tmp_path / "down" / "x")]


def test_what_is_being_written_is_not_there_yet(session: Session, tmp_path: Path) -> None:
    session.upload_string_as_file_body("x", "mine", "k")
    beside_name(tmp_path / "home" / "buckets" / "mine" / "half").write_text("of it")
    assert session.list_s3_files("mine", "") == ["k"]


def test_a_folder_is_not_its_neighbours(session: Session, tmp_path: Path) -> None:
    for key in ("v1/bt/out", "v1/btin/in", "v1/v1.0/a/x", "v1/v1.0/b/x"):
        session.upload_string_as_file_body(key, "mine", key)

    def names(prefix: str) -> list[str]:
        down = tmp_path / "down"
        return [str(Path(copy).relative_to(down)) for copy in session.download_data(down, "mine", prefix)]

    assert names("v1/bt") == names("v1/bt/") == ["out"]
    assert names("v1/b") == ["bt/out", "btin/in"]
    assert names("v1/v1.0") == ["a/x", "b/x"]
    assert names("v1/bt/out") == ["out"]
    assert names("v1/none") == []


def test_text_goes_up(session: Session) -> None:
    assert session.upload_string_as_file_body("é", "mine", "k/é.txt") == "s3://mine/k/é.txt"
    assert session.read_s3_file("mine", "k/é.txt") == "é"


def test_the_default_bucket_has_its_prefix(tmp_path: Path) -> None:
    session = Session(sagemaker_client=Embedded(tmp_path), default_bucket="mine", default_bucket_prefix="team")
    (tmp_path / "x").write_text("1")
    assert session.upload_data(tmp_path / "x") == "s3://mine/team/data/x"
    assert session.upload_data(tmp_path / "x", bucket="other", key_prefix="") == "s3://other/x"


def test_keys_cannot_leave_their_bucket(session: Session, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    for key in ("../../secret", "a/../../x", "", "."):
        with pytest.raises(ArgumentError, match="a path below the bucket"):
            session.read_s3_file("mine", key)
    for bucket in ("", "a/b", "..", ".x"):
        with pytest.raises(ArgumentError, match="a name without slashes"):
            session.upload_string_as_file_body("x", bucket, "k")


def test_what_is_not_there_says_so(session: Session, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="there is no file or folder at"):
        session.upload_data(tmp_path / "none")
    with pytest.raises(ArgumentError, match="s3://mine/none: No such file"):
        session.read_s3_file("mine", "none")
    assert session.list_s3_files("mine", "") == []
    assert session.download_data(tmp_path / "down", "mine", "") == []


def test_files_by_uri(session: Session, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    assert S3Uploader.upload(tmp_path / "x", "s3://mine/a", sagemaker_session=session) == "s3://mine/a/x"
    assert S3Downloader.list("s3://mine/", sagemaker_session=session) == ["s3://mine/a/x"]
    assert S3Downloader.read_file("s3://mine/a/x", sagemaker_session=session) == "1"
    assert S3Downloader.download("s3://mine/a", tmp_path / "d", sagemaker_session=session) == [str(tmp_path / "d/x")]
    assert s3_path_join("s3://mine/", "/a/", "b") == "s3://mine/a/b"
    assert parse_s3_url("s3://mine/a/b") == ("mine", "a/b")
    with pytest.raises(ArgumentError, match="s3://bucket/key"):
        parse_s3_url("/a/b")


def test_a_remote_session_uses_s3(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("1")
    sent: list[Any] = []
    s3 = RecordingClient("s3", {"put_object": {}})
    s3.upload_file = lambda *arguments, **more: sent.append((arguments, more))
    session = Session(RecordingBoto(s3=s3))
    assert session.upload_data(tmp_path / "x", "mine", "k", extra_args={"A": 1}) == "s3://mine/k/x"
    assert sent == [((str(tmp_path / "x"), "mine", "k/x"), {"ExtraArgs": {"A": 1}, "Callback": None})]
    assert session.upload_string_as_file_body("t", "mine", "k", kms_key="key") == "s3://mine/k"
    assert s3.sent("put_object")["SSEKMSKeyId"] == "key"


def test_a_remote_default_bucket_is_made_where_it_is_missing() -> None:
    s3 = RecordingClient("s3", {"head_bucket": RefusedError("404", "Not Found")})
    s3.exceptions = SimpleNamespace(ClientError=RefusedError)
    session = Session(RecordingBoto(s3=s3))
    assert session.default_bucket() == "sagemaker-eu-west-1-123456789012"
    assert s3.sent("create_bucket") == {
        "Bucket": "sagemaker-eu-west-1-123456789012",
        "CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"},
    }
    s3.answers["head_bucket"] = RefusedError("403", "Forbidden")
    with pytest.raises(RefusedError):
        session.default_bucket()


def test_real_boto3_clients_are_used_as_they_are() -> None:
    boto3 = pytest.importorskip("boto3")
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "y", "endpoint_url": "http://127.0.0.1:1"}
    client = boto3.client("sagemaker", region_name="eu-west-1", **keys)
    runtime = boto3.client("sagemaker-runtime", region_name="eu-west-1", **keys)
    session = Session(sagemaker_client=client, sagemaker_runtime_client=runtime)
    assert not session.embedded
    assert session.sagemaker_client is client
    assert session.boto_region_name == "eu-west-1"
    assert session.endpoint_url("e") == "http://127.0.0.1:1/endpoints/e/invocations"


# -- who --


def test_an_embedded_session_needs_no_account(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert session.embedded
    assert session.account_id() == "000000000000"
    assert session.boto_region_name == "eu-west-1"
    assert session.default_bucket() == "sagemaker-eu-west-1-000000000000"
    assert get_execution_role(session) == names.DEFAULT_ROLE
    assert session.expand_role("Mine") == "arn:aws:iam::000000000000:role/Mine"
    assert session.expand_role("arn:aws:iam::1:role/x") == "arn:aws:iam::1:role/x"


def test_an_embedded_session_has_clients_by_name(session: Session) -> None:
    client = session.sagemaker_client
    assert session.boto_session.client("sagemaker") is client
    assert session.sagemaker_runtime_client is client.runtime
    assert session.boto_session.client("logs", region_name="x") is client.logs
    with pytest.raises(NotSupportedError, match="There are sagemaker, sagemaker-runtime, logs, cloudwatch"):
        session.boto_session.client("s3")


def test_a_remote_session_asks_who_it_is() -> None:
    arn = "arn:aws:sts::123456789012:assumed-role/Role/me"
    sts = RecordingClient("sts", {"get_caller_identity": {"Account": "123456789012", "Arn": arn}})
    iam = RecordingClient("iam", {"get_role": {"Role": {"Arn": "arn:aws:iam::123456789012:role/x/Role"}}})
    session = Session(RecordingBoto(sts=sts, iam=iam))
    assert not session.embedded
    assert session.account_id() == "123456789012"
    assert get_execution_role(session) == "arn:aws:iam::123456789012:role/x/Role"
    assert session.expand_role("Role") == "arn:aws:iam::123456789012:role/x/Role"
    sts.answers["get_caller_identity"] = {"Arn": "arn:aws:iam::123456789012:user/me"}
    with pytest.raises(ArgumentError, match="is not a role"):
        get_execution_role(session)


def test_what_a_session_refuses() -> None:
    with pytest.raises(NotSupportedError, match="feature store"):
        Session(sagemaker_featurestore_runtime_client=object())
    with pytest.raises(ArgumentError, match="embedded"):
        Session(RecordingBoto(), home="x")


# -- endpoints --


def endpoint(*statuses: str, **members: Any) -> list[dict[str, Any]]:
    return [{"EndpointStatus": status, "EndpointConfigName": "c", **members} for status in statuses]


def test_waiting_for_an_endpoint_shows_that_it_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = Embedded(tmp_path, {"describe_endpoint": endpoint("Creating", "Creating", "InService")})
    assert Session(sagemaker_client=client).wait_for_endpoint("e", poll=0)["EndpointStatus"] == "InService"
    assert capsys.readouterr().out == "-!\n"


def test_an_endpoint_that_fails_raises_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = Embedded(tmp_path, {"describe_endpoint": endpoint("Failed", FailureReason="bad model")})
    with pytest.raises(UnexpectedStatusException, match=r"Error hosting endpoint e: Failed\. Reason: bad model"):
        Session(sagemaker_client=client).wait_for_endpoint("e")
    assert capsys.readouterr().out == "*\n"


def test_a_refused_endpoint_leaves_no_configuration(tmp_path: Path) -> None:
    missing = RefusedError("ValidationException", "Could not find")
    client = Embedded(tmp_path, {"describe_endpoint": missing, "create_endpoint": RefusedError("X", "no room")})
    with pytest.raises(RefusedError, match="no room"):
        Session(sagemaker_client=client).endpoint_from_production_variants("e", [production_variant("m", "local", 1)])
    assert client.sent("delete_endpoint_config") == {"EndpointConfigName": "e"}


def test_a_configuration_that_a_killed_deploy_left_is_not_in_the_way(tmp_path: Path) -> None:
    missing = RefusedError("ValidationException", "Could not find")
    taken = RefusedError("ValidationException", 'Cannot create already existing endpoint config "arn".')
    client = Embedded(tmp_path, {"describe_endpoint": missing, "create_endpoint_config": [taken, {}]})
    session = Session(sagemaker_client=client)
    session.endpoint_from_production_variants("e", [production_variant("m", "local", 1)], wait=False)
    made = [request["EndpointConfigName"] for called, request in client.calls if called == "create_endpoint_config"]
    assert made[0] == "e"
    assert made[1].startswith("e-")
    assert client.sent("create_endpoint") == {"EndpointName": "e", "EndpointConfigName": made[1], "Tags": []}
    assert "delete_endpoint_config" not in client.names()


def test_a_refused_update_leaves_no_configuration(tmp_path: Path) -> None:
    client = Embedded(tmp_path, {"update_endpoint": RefusedError("X", "not supported")})
    with pytest.raises(RefusedError, match="not supported"):
        Session(sagemaker_client=client).move_endpoint("e", [production_variant("m", "local", 1)])
    made = client.sent("create_endpoint_config")["EndpointConfigName"]
    assert client.sent("delete_endpoint_config") == {"EndpointConfigName": made}


def test_an_endpoint_from_model_data(tmp_path: Path) -> None:
    missing = RefusedError("ValidationException", "Could not find")
    client = Embedded(tmp_path, {"describe_endpoint": missing})
    session = Session(sagemaker_client=client)
    session.endpoint_from_model_data("/m.tar.gz", "blazingtext", 1, "local", name="e", wait=False)
    assert client.names() == [
        "describe_endpoint", "create_model", "describe_endpoint", "create_endpoint_config", "create_endpoint"
    ]  # fmt: skip
    assert client.sent("create_model")["ModelName"] == "e"


def test_whether_an_endpoint_is_in_service(tmp_path: Path) -> None:
    client = Embedded(tmp_path, {"describe_endpoint": [*endpoint("InService", "Creating"), RefusedError("X", "x")]})
    session = Session(sagemaker_client=client)
    assert session.endpoint_in_service_or_not("e")
    assert not session.endpoint_in_service_or_not("e")
    with pytest.raises(RefusedError):
        session.endpoint_in_service_or_not("e")
    client.answers["describe_endpoint"] = RefusedError("ValidationException", "Could not find")
    assert not session.endpoint_in_service_or_not("e")


# -- models --


def test_a_model_is_reused_only_if_it_is_the_same(tmp_path: Path) -> None:
    taken = RefusedError("ValidationException", "Cannot create already existing model")
    there = {"PrimaryContainer": {"Image": "blazingtext", "ModelDataUrl": "/m.tar.gz", "Mode": "SingleModel"}}
    client = Embedded(tmp_path, {"create_model": taken, "describe_model": there})
    session = Session(sagemaker_client=client)
    assert session.create_model("m", container_defs=container_def("blazingtext", "/m.tar.gz")) == "m"
    with pytest.raises(RefusedError, match="already existing"):
        session.create_model("m", container_defs=container_def("blazingtext", "/other.tar.gz"))


def test_what_a_model_cannot_be(session: Session) -> None:
    with pytest.raises(NotSupportedError, match="several containers"):
        session.create_model("m", container_defs=[container_def("a"), container_def("b")])
    with pytest.raises(ArgumentError, match="container_defs is missing"):
        session.create_model("m")
    with pytest.raises(NotSupportedError, match="multi-model"):
        container_def("a", container_mode="MultiModel")


def test_a_variant_with_everything() -> None:
    assert production_variant(
        "m", "ml.x", 2, "v", 3, volume_size=5, model_data_download_timeout=60,
        container_startup_health_check_timeout=61, routing_config={"RoutingStrategy": "RANDOM"},
    ) == {
        "VariantName": "v",
        "ModelName": "m",
        "InitialVariantWeight": 3,
        "InitialInstanceCount": 2,
        "InstanceType": "ml.x",
        "VolumeSizeInGB": 5,
        "ModelDataDownloadTimeoutInSeconds": 60,
        "ContainerStartupHealthCheckTimeoutInSeconds": 61,
        "RoutingConfig": {"RoutingStrategy": "RANDOM"},
    }  # fmt: skip
