"""Requests and answers in the published forms, as an endpoint reads and writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xgboost

from wildsage.algorithms.xgboost.model import XGBoostModel
from wildsage.data.recordio import write_numpy_to_dense_tensor
from wildsage.runtime.negotiation import RequestError
from wildsage.runtime.rows import Rows


@pytest.fixture
def model(tmp_path: Path) -> XGBoostModel:
    values = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    data = xgboost.DMatrix(values, values[:, 0] > 0)
    booster = xgboost.train({"nthread": 1, "objective": "binary:logistic"}, data, 5)
    (tmp_path / "xgboost-model").write_bytes(booster.save_raw("ubj"))
    return XGBoostModel.load(tmp_path)


def ask(model: XGBoostModel, body: bytes, kind: str, accept: str = "") -> bytes:
    rows = Rows(model)
    return rows.together([rows.read(body, kind, accept)])[0]


def test_csv_has_a_number_a_line(model: XGBoostModel) -> None:
    answer = ask(model, b"1,2,3,4\n-1,,3,4\n", "text/csv")
    first, second = map(float, answer.decode().split())
    assert first > 0.5 > second


@pytest.mark.parametrize("kind", ["text/libsvm", "text/x-libsvm"])
def test_libsvm_may_have_a_label(model: XGBoostModel, kind: str) -> None:
    assert ask(model, b"1 0:1 1:2\n", kind) == ask(model, b"0:1 1:2\n", kind) == ask(model, b"1,2,,\n", "text/csv")


def test_json_has_scores(model: XGBoostModel) -> None:
    body = b"1,2,3,4\n-1,2,3,4\n"
    scores = [float(line) for line in ask(model, body, "text/csv").split()]
    answer = json.loads(ask(model, body, "text/csv", "application/json"))
    assert answer == {"predictions": [{"score": score} for score in scores]}
    lines = ask(model, body, "text/csv", "application/jsonlines").splitlines()
    assert [json.loads(line) for line in lines] == [{"score": score} for score in scores]
    asked = b'{"instances": [{"features": [1, 2, 3, 4]}, {"features": [-1, 2, 3, 4]}]}'
    assert json.loads(ask(model, asked, "application/json")) == answer


def test_records_are_answered(model: XGBoostModel, tmp_path: Path) -> None:
    with (tmp_path / "made").open("wb") as file:
        write_numpy_to_dense_tensor(file, np.array([[1, 2, 3, 4]], np.float32))
    body = (tmp_path / "made").read_bytes()
    assert ask(model, body, "application/x-recordio-protobuf") == ask(model, b"1,2,3,4\n", "text/csv")
    assert b"score" in ask(model, body, "application/x-recordio-protobuf", "application/x-recordio-protobuf")


def test_selected_outputs_have_their_form(model: XGBoostModel) -> None:
    model.outputs = ("predicted_label", "probabilities")
    body = b"1,2,3,4\n"
    answer = json.loads(ask(model, body, "text/csv", "application/jsonlines"))
    assert answer["predicted_label"] == 1
    assert sum(answer["probabilities"]) == pytest.approx(1)
    assert ask(model, body, "text/csv").decode() == f'1,"{answer["probabilities"]}"\n'
    model.outputs = ("predicted_score",)
    assert json.loads(ask(model, body, "text/csv", "application/json")) == {"predictions": [{"predicted_score": None}]}
    assert ask(model, body, "text/csv") == b"nan\n"


def test_a_wrong_body_is_named(model: XGBoostModel) -> None:
    with pytest.raises(RequestError, match="line 1") as caught:
        ask(model, b"1,2,x,4\n", "text/csv")
    assert caught.value.status == 415
