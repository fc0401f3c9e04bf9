"""Transform jobs as real processes over real files."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.platform.conftest import CheckedPlatform, ended, train
from wildsage.platform.errors import ServiceError


@pytest.fixture
def model(platform: CheckedPlatform, words: Path) -> str:
    archive = train(platform, "trained", words)["ModelArtifacts"]["S3ModelArtifacts"]
    platform.create_model(ModelName="counter", PrimaryContainer={"Image": "counting", "ModelDataUrl": archive})
    return "counter"


def request(name: str, model: str, source: Path, output: Path, **more: Any) -> dict[str, Any]:
    data = {"S3DataSource": {"S3DataType": more.pop("data_type", "S3Prefix"), "S3Uri": str(source)}}
    asked = {"ContentType": "application/jsonlines", "SplitType": "Line", **more.pop("input", {})}
    return {
        "TransformJobName": name,
        "ModelName": model,
        "TransformInput": {"DataSource": data, **asked},
        "TransformOutput": {
            "S3OutputPath": str(output),
            "Accept": "application/jsonlines",
            "AssembleWith": "Line",
            **more.pop("answer", {}),
        },
        "TransformResources": {"InstanceType": "local", "InstanceCount": 1},
        **more,
    }


def transformed(platform: CheckedPlatform, **asked: Any) -> dict[str, Any]:
    platform.create_transform_job(**asked)
    name = asked["TransformJobName"]
    return ended(lambda: platform.describe_transform_job(TransformJobName=name), "TransformJobStatus")


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def line(word: str) -> str:
    return json.dumps({"source": word}) + "\n"


def test_a_folder_of_files_keeps_its_layout_and_order(platform: CheckedPlatform, model: str, tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    asked = ["a", "b", "z"] * 50
    (source / "one.jsonl").write_text("".join(map(line, asked)))
    (source / "deep" / "two.jsonl").write_text(line("b"))
    job = transformed(
        platform,
        **request("folder", model, source, output, BatchStrategy="SingleRecord", MaxConcurrentTransforms=4),
    )
    assert job["TransformJobStatus"] == "Completed", job
    assert job["TransformEndTime"] >= job["TransformStartTime"]
    counts = {"a": 2.0, "b": 1.0, "z": 0}
    assert [row["count"] for row in rows(output / "one.jsonl.out")] == [counts[word] for word in asked]
    assert rows(output / "deep" / "two.jsonl.out") == [{"count": 1.0}]
    assert sorted(p.name for p in output.rglob("*") if p.is_file()) == ["one.jsonl.out", "two.jsonl.out"]
    summaries = platform.list_transform_jobs(StatusEquals="Completed")["TransformJobSummaries"]
    assert [summary["TransformJobName"] for summary in summaries] == ["folder"]


def test_a_bad_record_fails_its_file_and_no_other(platform: CheckedPlatform, model: str, tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "bad.jsonl").write_text(line("a") + "{\n" + line("b"))
    (source / "good.jsonl").write_text(line("a"))
    job = transformed(platform, **request("partly", model, source, output, BatchStrategy="SingleRecord"))
    assert job["TransformJobStatus"] == "Failed"
    assert "bad.jsonl, record 2" in job["FailureReason"]
    assert "1 of 2 files failed" in job["FailureReason"]
    assert [path.name for path in output.iterdir()] == ["good.jsonl.out"]


def test_gzip_filters_and_joins(platform: CheckedPlatform, model: str, tmp_path: Path) -> None:
    source, output = tmp_path / "words.jsonl.gz", tmp_path / "out"
    records = [{"id": 7, "text": {"source": "a"}}, {"id": 8, "text": {"source": "z"}}]
    source.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    job = transformed(
        platform,
        **request(
            "joined",
            model,
            source,
            output,
            input={"CompressionType": "Gzip"},
            DataProcessing={
                "InputFilter": "$.text",
                "JoinSource": "Input",
                "OutputFilter": "$['id','SageMakerOutput']",
            },
        ),
    )
    assert job["TransformJobStatus"] == "Completed", job
    assert rows(output / "words.jsonl.gz.out") == [[7, {"count": 2.0}], [8, {"count": 0}]]


def test_a_manifest_and_whole_files(platform: CheckedPlatform, model: str, tmp_path: Path) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name in ("x.json", "y.json", "z.json"):
        (source / name).write_text(json.dumps({"instances": [name[0], "a"]}))
    manifest = tmp_path / "list.manifest"
    manifest.write_text(json.dumps([{"prefix": f"{source}/"}, "x.json", "y.json"]))
    kinds = {"ContentType": "application/json", "SplitType": "None"}
    job = transformed(
        platform,
        **request(
            "listed",
            model,
            manifest,
            output,
            data_type="ManifestFile",
            input=kinds,
            answer={"Accept": "application/json", "AssembleWith": "None"},
            MaxConcurrentTransforms=2,
        ),
    )
    assert job["TransformJobStatus"] == "Completed", job
    assert sorted(path.name for path in output.iterdir()) == ["x.json.out", "y.json.out"]
    assert json.loads((output / "x.json.out").read_text()) == [{"count": 0}, {"count": 2.0}]


def test_a_server_that_does_not_come_up(platform: CheckedPlatform, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "counts.json").write_text("{")
    (tmp_path / "in.jsonl").write_text(line("a"))
    container = {"Image": "counting", "ModelDataUrl": str(broken)}
    platform.create_model(ModelName="broken", PrimaryContainer=container)
    job = transformed(platform, **request("broken", "broken", tmp_path / "in.jsonl", tmp_path / "out"))
    assert job["TransformJobStatus"] == "Failed"
    assert "model server" in job["FailureReason"]


def test_a_model_that_cannot_be_served_is_the_reason(platform: CheckedPlatform, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    broken.mkdir()
    (broken / "counts.json").write_text("[]")
    (tmp_path / "in.jsonl").write_text('"a"\n')
    container = {"Image": "counting", "ModelDataUrl": str(broken)}
    platform.create_model(ModelName="broken", PrimaryContainer=container)
    job = transformed(platform, **request("broken", "broken", tmp_path / "in.jsonl", tmp_path / "out"))
    assert re.fullmatch(r"ClientError: .*counts\.json: there are no counts in it", job["FailureReason"])


def test_refused_requests(platform: CheckedPlatform, model: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(line("a"))
    good = request("refused", model, tmp_path / "in.jsonl", tmp_path / "out")
    with pytest.raises(ServiceError) as error:
        platform.create_transform_job(
            **{
                **good,
                "TransformResources": {"InstanceType": "local", "InstanceCount": 2},
                "MaxPayloadInMB": 60,
                "MaxConcurrentTransforms": 2,
                "DataProcessing": {"InputFilter": "$["},
                "TransformInput": {
                    **good["TransformInput"],
                    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": str(tmp_path / "im.jsonl")}},
                },
            }
        )
    for part in ("InstanceCount = 2", "= 120 is not allowed", "not a JSONPath", 'did you mean "in.jsonl"'):
        assert part in str(error.value)
    with pytest.raises(ServiceError, match="Could not find model"):
        platform.create_transform_job(**{**good, "ModelName": "other"})
    with pytest.raises(ServiceError, match="Requested resource not found"):
        platform.stop_transform_job(TransformJobName="refused")
    assert transformed(platform, **good)["TransformJobStatus"] == "Completed"
    with pytest.raises(ServiceError, match="status Completed"):
        platform.stop_transform_job(TransformJobName="refused")
    with pytest.raises(ServiceError) as taken:
        platform.create_transform_job(**good)
    assert taken.value.code == "ResourceInUse"
