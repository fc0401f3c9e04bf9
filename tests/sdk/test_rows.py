"""An endpoint of a row model, asked through the SDK's serializers and the command line, for real."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.third_party import environment, install
from wildsage.contract.errors import ClientError
from wildsage.sdk.deserializers import (
    CSVDeserializer,
    JSONDeserializer,
    JSONLinesDeserializer,
    NumpyDeserializer,
    RecordDeserializer,
)
from wildsage.sdk.model import Model
from wildsage.sdk.predictor import Predictor
from wildsage.sdk.records import read_records
from wildsage.sdk.serializers import (
    CSVSerializer,
    JSONLinesSerializer,
    JSONSerializer,
    LibSVMSerializer,
    RecordSerializer,
)
from wildsage.sdk.session import Session

ROWS = np.array([[1, 2, 3], [0.25, 0, 0]], np.float32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a home, in which an endpoint called ruler runs, and the model's files."""
    folder = tmp_path_factory.mktemp("rows")
    packages, files = folder / "packages", folder / "model"
    packages.mkdir()
    files.mkdir()
    (files / "width").write_text("3")
    install(packages)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WILDSAGE_HOME", str(folder / "home"))
        patch.setenv("PYTHONPATH", environment(packages)["PYTHONPATH"])
        patch.setattr(sys, "path", [str(packages), *sys.path])
        model = Model(image_uri="measuring", model_data=str(files), sagemaker_session=Session())
        model.deploy(initial_instance_count=1, instance_type="local", endpoint_name="ruler")
        yield folder
        Predictor("ruler").delete_endpoint()


@pytest.mark.parametrize(
    ("serializer", "data", "deserializer", "wanted"),
    [
        (CSVSerializer(), ROWS, CSVDeserializer(), [["6.0", "2"], ["0.25", "0"]]),
        (CSVSerializer(), ROWS[0], CSVDeserializer(), [["6.0", "2"]]),
        (CSVSerializer(), [1, 2, 3], NumpyDeserializer("float32", "text/csv"), [6, 2]),
        (JSONSerializer(), {"instances": ROWS}, JSONDeserializer(), {"predictions": [
            {"total": 6.0, "largest": 2}, {"total": 0.25, "largest": 0}]}),
        (JSONLinesSerializer(), [{"features": [1, 2, 3]}], JSONLinesDeserializer(), [{"total": 6.0, "largest": 2}]),
        (LibSVMSerializer(), "0 0:1 2:5\n", JSONDeserializer(), {"predictions": [{"total": 6.0, "largest": 2}]}),
    ],
)  # fmt: skip
def test_serializers_and_deserializers(place: Path, serializer: Any, data: Any, deserializer: Any, wanted: Any) -> None:
    found = Predictor("ruler", serializer=serializer, deserializer=deserializer).predict(data)
    assert (found.tolist() if isinstance(found, np.ndarray) else found) == wanted


def test_records(place: Path) -> None:
    found = Predictor("ruler", serializer=RecordSerializer(), deserializer=RecordDeserializer()).predict(ROWS)
    assert [record.label["total"].float32_tensor.values for record in found] == [[6.0], [0.25]]
    assert [record.label["largest"].float32_tensor.values for record in found] == [[2.0], [0.0]]


def test_options_and_refusals(place: Path) -> None:
    predictor = Predictor("ruler", serializer=CSVSerializer(), deserializer=JSONDeserializer())
    accept = {"Accept": "application/json; verbose=true"}
    assert predictor.predict([1, 2, 3], initial_args=accept)["predictions"][0]["tenths"] == [0.1, 0.2, 0.3]
    with pytest.raises(ClientError, match="line 1: more than 3 columns, but the model takes 3"):
        predictor.predict([1, 2, 3, 4])


def command(*arguments: str, body: bytes = b"") -> bytes:
    program = [sys.executable, "-c", "from wildsage.cli.app import run; run()", *arguments]
    return subprocess.run(program, input=body, env=dict(os.environ), stdout=subprocess.PIPE, check=True).stdout


def test_the_command_line(place: Path) -> None:
    assert command("predict", "ruler", "1,2,3") == b'{"total": 6.0, "largest": 2}\n'
    csv = ["--content-type", "text/csv"]
    assert command("predict", "ruler", *csv, "--accept", "text/csv", body=b"1,2,3\n0.25,0,0\n") == b"6.0,2\n0.25,0\n"
    body = RecordSerializer().serialize(ROWS).read()
    answer = command("predict", "ruler", "--content-type", "application/x-recordio-protobuf", body=body)
    assert len(read_records(io.BytesIO(answer))) == 2  # and no line end behind
