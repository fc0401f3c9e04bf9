"""What a forest answers, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.randomcutforest.jobs import csv, rows_of
from wildsage.algorithms.model_file import MODEL_FILE
from wildsage.algorithms.randomcutforest import forest as forests
from wildsage.algorithms.randomcutforest.forest import Forest
from wildsage.algorithms.randomcutforest.model import RandomCutForestModel, level
from wildsage.algorithms.randomcutforest.shingles import shingled
from wildsage.algorithms.streaming import Workers
from wildsage.contract.errors import ClientError, DataError
from wildsage.data.batch import Batch
from wildsage.data.readers import read_body


def model_of(rows: np.ndarray, *, size: int = 1, floor: float = 0.0) -> RandomCutForestModel:
    forest = Forest(50, 32, rows.shape[1] * size)
    forest.sample(shingled(rows, size), 0, 0, Workers(1))
    return RandomCutForestModel(forest, shingle_size=size, scale_floor=floor, seen=len(rows))


def batch(rows: np.ndarray, *, missing: bool = False) -> Batch:
    text = csv(rows).replace("nan", "")
    return read_body(text.encode(), "text/csv", missing="nan" if missing else "refuse")


@pytest.fixture(scope="module")
def model() -> RandomCutForestModel:
    return model_of(rows_of(300, 3))


def test_what_is_far_off_scores_higher_and_says_why(model: RandomCutForestModel) -> None:
    found = model.answer(batch(np.array([[0, 0, 0], [0, 9, 0]])), {"attribution": "true"})
    assert found["score"][1] > 2 * found["score"][0]
    np.testing.assert_allclose(found["attribution"].sum(axis=1), found["score"], rtol=1e-4)
    assert found["attribution"][1].argmax() == 1
    assert found["attribution"][1, 1] > 0.8 * found["score"][1]


def test_only_what_is_asked_for_is_answered(model: RandomCutForestModel) -> None:
    rows = batch(np.zeros((1, 3)))
    assert list(model.answer(rows, {})) == ["score"]
    assert list(model.answer(rows, {"attribution": False, "imputation": "false"})) == ["score"]
    assert list(model.answer(rows, {"attribution": True, "imputation": True})) == ["score", "attribution", "imputed"]
    with pytest.raises(ClientError, match='"atribution" is not allowed: attribution, imputation; did you mean "attr'):
        model.answer(rows, {"atribution": "true"})
    with pytest.raises(ClientError, match="option attribution = 7 is not allowed: true or false"):
        model.answer(rows, {"attribution": 7})


def test_missing_features_are_imputed_before_they_are_scored(model: RandomCutForestModel) -> None:
    asked = np.array([[0.1, np.nan, 0.2], [np.nan, 0, 9]], np.float32)
    found = model.answer(batch(asked, missing=True), {"imputation": "true"})
    filled = found["imputed"]
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~np.isnan(asked)], asked[~np.isnan(asked)])
    assert abs(filled[0, 1]) < 1
    np.testing.assert_allclose(found["score"], model.answer(batch(filled), {})["score"], rtol=1e-3)


def test_many_rows_are_answered_as_few_are(model: RandomCutForestModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = batch(rows_of(50, 3, seed=7))
    whole = model.answer(rows, {})["score"]
    monkeypatch.setattr("wildsage.algorithms.randomcutforest.model.DENSE_BYTES", 7 * 12)
    monkeypatch.setattr(forests, "LARGEST_BLOCK", 3)
    np.testing.assert_array_equal(model.answer(rows, {})["score"], whole)
    assert model.answer(rows.part(0, 0), {})["score"].tolist() == []


@pytest.mark.parametrize("piece", [1 << 20, 7 * 24])
def test_rows_of_a_request_are_a_series_where_shingles_are(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wildsage.algorithms.randomcutforest.model.DENSE_BYTES", piece)
    model = model_of(rows_of(300, 2), size=3)
    assert model.feature_dim == 2
    rows = rows_of(20, 2, seed=5)
    scores = model.answer(batch(rows), {})["score"]
    assert scores[:2].tolist() == [0, 0]
    np.testing.assert_array_equal(scores[2:], model.forest.score(shingled(rows, 3), Workers(1)))
    assert model.answer(batch(rows[:2]), {})["score"].tolist() == [0, 0]


def test_series_of_requests_answered_together_do_not_meet() -> None:
    model = model_of(rows_of(300, 2), size=3)
    requests = [batch(rows_of(count, 2, seed=count)) for count in (5, 1, 1, 2, 7, 4)]
    together = model.answer(Batch.joined(requests), {"attribution": True})
    alone = [model.answer(request, {"attribution": True}) for request in requests]
    for name, column in together.items():
        np.testing.assert_array_equal(column, np.concatenate([each[name] for each in alone]))


def test_a_constant_column_has_a_floor() -> None:
    rows = rows_of(300, 2)
    rows[:, 1] = 100
    asked = np.array([[0, 100], [0, 100.09], [0, 101], [0, 99]])
    plain = model_of(rows).answer(batch(asked), {})["score"]
    floored = model_of(rows, floor=0.001).answer(batch(asked), {})["score"]
    assert plain[1] > plain[0]
    assert floored[1] == floored[0] == plain[0]
    assert min(floored[2:]) > floored[0]


def test_levelling_leaves_the_other_columns_alone() -> None:
    rows = np.array([[1, -5.004, 3], [2, -5.1, 4], [3, -4, 0]], np.float32)
    level(rows, np.array([1]), np.array([-5], np.float32), 0.001)
    np.testing.assert_allclose(rows, [[1, -5, 3], [2, -5.095, 4], [3, -4.005, 0]], rtol=1e-6)


def test_a_saved_model_is_the_same_forest(model: RandomCutForestModel, tmp_path: Path) -> None:
    model.feature_names = ("a", "b", "c")
    model.save(tmp_path)
    loaded = RandomCutForestModel.load(tmp_path)
    rows = batch(rows_of(50, 3, seed=3))
    options = {"attribution": "true"}
    for name, column in model.answer(rows, options).items():
        np.testing.assert_array_equal(loaded.answer(rows, options)[name], column)
    assert (loaded.seen, loaded.feature_names, loaded.feature_dim) == (300, ("a", "b", "c"), 3)


def test_other_files_of_the_same_name_are_not_recognised(tmp_path: Path) -> None:
    assert not RandomCutForestModel.recognises(tmp_path)
    for content in (b"", b"\x08\0\0\0\0\0\0\0{}      ", b"\xff" * 100, b"\x02\0\0\0\0\0\0\0[]"):
        (tmp_path / MODEL_FILE).write_bytes(content)
        assert not RandomCutForestModel.recognises(tmp_path)
        with pytest.raises(DataError, match="not a model of randomcutforest"):
            RandomCutForestModel.load(tmp_path)


@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_model_is_named_or_answers(
    place: float, value: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    whole = folder / "whole"
    if not whole.exists():
        folder.mkdir(exist_ok=True)
        model_of(rows_of(20, 1)).save(folder)
        (folder / MODEL_FILE).rename(whole)
    content = bytearray(whole.read_bytes())
    at = int(place**3 * len(content))  # most often in the header
    content = content[:at] if cut else content[:at] + bytes([value]) + content[at + 1 :]
    (folder / MODEL_FILE).write_bytes(content)
    try:
        loaded = RandomCutForestModel.load(folder)
    except ClientError:
        return
    assert np.isfinite(loaded.forest.score(np.zeros((1, loaded.forest.dim), np.float32), Workers(1))).all()
