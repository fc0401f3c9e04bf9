"""Transform jobs of rows of numbers, as real processes over real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.platform.conftest import CheckedPlatform
from tests.platform.test_transform_jobs import request, rows, transformed
from wildsage.contract.content_types import CSV, JSON, JSON_LINES, RECORDIO_PROTOBUF
from wildsage.data.record import Tensor, decode_all
from wildsage.data.recordio import write_numpy_to_dense_tensor

WIDTH = 3


@pytest.fixture
def model(platform: CheckedPlatform, tmp_path: Path) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "width").write_text(str(WIDTH))
    platform.create_model(ModelName="ruler", PrimaryContainer={"Image": "measuring", "ModelDataUrl": str(folder)})
    return "ruler"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def forms(content_type: str, accept: str | None, split: str = "Line", assemble: str = "None", **more: Any) -> Any:
    answer = {"AssembleWith": assemble, **({"Accept": accept} if accept else {"Accept": None})}
    return {"input": {"ContentType": content_type, "SplitType": split}, "answer": answer, **more}


def asked(name: str, model: str, source: Path, output: Path, **how: Any) -> dict[str, Any]:
    found = request(name, model, source, output, **how)
    members = found["TransformOutput"]
    found["TransformOutput"] = {key: value for key, value in members.items() if value is not None}
    return found


def test_lines_of_csv_and_json(platform: CheckedPlatform, model: str, source: Path, tmp_path: Path) -> None:
    numbers = np.arange(300, dtype=np.float32).reshape(-1, WIDTH) + np.float32(0.5)
    (source / "a.csv").write_text("".join(f"{a},{b},{c}\n" for a, b, c in numbers.tolist()))
    how = forms(CSV, CSV, BatchStrategy="SingleRecord", MaxConcurrentTransforms=3)
    job = transformed(platform, **asked("csv", model, source, tmp_path / "out", **how))
    assert job["TransformJobStatus"] == "Completed", job
    expected = "".join(f"{total},2\n" for total in numbers.sum(axis=1).tolist())
    assert (tmp_path / "out" / "a.csv.out").read_text() == expected
    (source / "a.csv").unlink()
    (source / "b.jsonl").write_text("".join(json.dumps({"features": row}) + "\n" for row in numbers.tolist()))
    how = forms(JSON_LINES, f"{JSON_LINES}; verbose=true")
    job = transformed(platform, **asked("lines", model, source, tmp_path / "out", **how))
    assert job["TransformJobStatus"] == "Completed", job
    found = rows(tmp_path / "out" / "b.jsonl.out")
    assert [row["total"] for row in found] == numbers.sum(axis=1).tolist()
    assert found[0]["tenths"] == [0.05, 0.15, 0.25]


def test_records_and_whole_files(platform: CheckedPlatform, model: str, source: Path, tmp_path: Path) -> None:
    numbers = np.arange(30, dtype=np.float32).reshape(-1, WIDTH) * 2
    with (source / "a.pbr").open("wb") as file:
        write_numpy_to_dense_tensor(file, numbers)
    for split, strategy in (("RecordIO", "SingleRecord"), ("None", "MultiRecord")):
        name = f"{split}-{strategy}"
        how = forms(RECORDIO_PROTOBUF, None, split, BatchStrategy=strategy)
        job = transformed(platform, **asked(name, model, source, tmp_path / name, **how))
        assert job["TransformJobStatus"] == "Completed", job
        totals = [record.label["total"] for record in decode_all((tmp_path / name / "a.pbr.out").read_bytes())]
        assert [float(each.values[0]) for each in totals if isinstance(each, Tensor)] == numbers.sum(axis=1).tolist()


def test_columns_are_filtered_and_joined(platform: CheckedPlatform, model: str, source: Path, tmp_path: Path) -> None:
    (source / "a.csv").write_text('"a, b",1.50,2,3\nid2,4,5,6e0\n')
    processing = {"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-2,-1]"}
    how = forms(CSV, None, assemble="Line", DataProcessing=processing)
    job = transformed(platform, **asked("joined", model, source, tmp_path / "out", **how))
    assert job["TransformJobStatus"] == "Completed", job
    assert (tmp_path / "out" / "a.csv.out").read_text() == '"a, b",6.5,2\nid2,15.0,2\n'


def test_json_is_filtered_and_joined(platform: CheckedPlatform, model: str, source: Path, tmp_path: Path) -> None:
    records = [{"id": number, "row": {"features": [number, 1, 1]}} for number in range(3)]
    (source / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    processing = {"InputFilter": "$.row", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"}
    how = forms(JSON_LINES, None, assemble="Line", DataProcessing=processing)
    job = transformed(platform, **asked("joined", model, source, tmp_path / "out", **how))
    assert job["TransformJobStatus"] == "Completed", job
    totals = [[number, {"total": 2.0 + number, "largest": 1 if number < 1 else 0}] for number in range(3)]
    assert rows(tmp_path / "out" / "a.jsonl.out") == totals
    (source / "b.json").write_text(json.dumps({"instances": [[1, 2, 3], {"features": [4, 5, 6]}]}))
    (source / "a.jsonl").unlink()
    how = forms(JSON, None, split="None")
    transformed(platform, **asked("whole", model, source, tmp_path / "out", **how))
    answers = json.loads((tmp_path / "out" / "b.json.out").read_text())
    assert [row["total"] for row in answers["predictions"]] == [6, 15]


def test_a_bad_row_is_named(platform: CheckedPlatform, model: str, source: Path, tmp_path: Path) -> None:
    (source / "a.csv").write_text("1,2,3\n4,x,6\n")
    job = transformed(platform, **asked("bad", model, source, tmp_path / "out", **forms(CSV, CSV)))
    assert job["TransformJobStatus"] == "Failed"
    assert "a.csv, records 1 to 2" in job["FailureReason"]
    assert 'line 2, column 2: \\"x\\" is not a number' in job["FailureReason"]
