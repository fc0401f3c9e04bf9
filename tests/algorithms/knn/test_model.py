"""A model: its answers, its files, and what is wrong with files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.algorithms.knn import naive
from tests.algorithms.knn.jobs import batch, clusters, csv, job
from wildsage.algorithms.knn import KNN
from wildsage.algorithms.knn.model import INDEX_FILE, KEYS_FILE, LABELS_FILE, REDUCTION_FILE, SETTINGS_FILE
from wildsage.algorithms.knn.model import NearestNeighbours as Model
from wildsage.algorithms.knn.state import check_values
from wildsage.contract.errors import ClientError, DataError
from wildsage.data.readers import read_body

ROWS, LABELS = clusters(300, 6)
QUERIES, _ = clusters(40, 6, seed=1)


def fit(folder: Path, **hyperparameters: Any) -> Model:
    return KNN().train(job(folder, {"train": csv(ROWS, LABELS)}, **hyperparameters))


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    reduced = {"dimension_reduction_type": "fjlt", "dimension_reduction_target": 4}
    fit(tmp_path / "job", **reduced).save(folder)
    return folder


@pytest.mark.parametrize("metric", ["L2", "INNER_PRODUCT", "COSINE"])
@pytest.mark.parametrize("predictor", ["classifier", "regressor"])
def test_answers_are_those_of_the_exact_neighbours(metric: str, predictor: str, tmp_path: Path) -> None:
    model = fit(tmp_path, index_metric=metric, predictor_type=predictor, k=5)
    answer = model.answer(batch(QUERIES, None), {"verbose": "true"})
    exact = naive.distances(ROWS, QUERIES, metric)
    nearest = np.argsort(exact, axis=1, kind="stable")[:, :5]
    wanted = np.take_along_axis(exact, nearest, axis=1)
    close = -wanted if metric == "INNER_PRODUCT" else wanted
    np.testing.assert_allclose(answer["distances"], close, rtol=1e-5, atol=1e-6)
    assert (answer["labels"] == LABELS[nearest]).all()
    if predictor == "classifier":
        assert answer["predicted_label"].tolist() == [naive.majority(row) for row in LABELS[nearest]]
    else:
        np.testing.assert_allclose(answer["predicted_label"], LABELS[nearest].mean(axis=1), rtol=1e-6)


def test_labels_and_distances_only_come_when_asked_for(tmp_path: Path) -> None:
    model = fit(tmp_path)
    row = batch(QUERIES[:1], None)
    assert list(model.answer(row, {})) == ["predicted_label"]
    assert list(model.answer(row, {"verbose": "False", "charset": "utf-8"})) == ["predicted_label"]
    assert list(model.answer(row, {"verbose": True})) == ["predicted_label", "distances", "labels"]
    with pytest.raises(ClientError, match='verbose = "maybe" is not allowed: true or false'):
        model.answer(row, {"verbose": "maybe"})
    with pytest.raises(ClientError, match='option "verbos" is not allowed: verbose'):
        model.answer(row, {"verbos": "true"})


def test_rows_of_a_request(tmp_path: Path) -> None:
    model = fit(tmp_path)
    dense = model.predict([{"features": [0, 1, 0, 0, 2, 0]}], [{"verbose": "true"}])
    sparse = {"data": {"features": {"keys": [1, 4], "shape": [6], "values": [1, 2]}}}
    assert model.predict([sparse], [{"verbose": "true"}]) == dense
    assert len(dense[0]["distances"]) == len(dense[0]["labels"]) == 3
    assert isinstance(dense[0]["predicted_label"], float)
    none = model.answer(read_body(b"", "text/csv", feature_dim=6), {"verbose": "true"})
    assert none["distances"].shape == (0, 3)
    with pytest.raises(ClientError, match="rows have 5 features; the model wants 6"):
        model.answer(batch(QUERIES[:, :5].copy(), None), {})


def test_many_queries_are_answered_as_few(tmp_path: Path) -> None:
    model = fit(tmp_path)
    many = np.tile(QUERIES, (20, 1))
    distances, labels = model.neighbours(many)
    first = model.neighbours(QUERIES)
    assert (distances == np.tile(first[0], (20, 1))).all()
    assert (labels == np.tile(first[1], (20, 1))).all()


def test_files_are_faisss_index_raw_numbers_and_json(saved: Path) -> None:
    import faiss

    assert faiss.read_index(str(saved / INDEX_FILE)).ntotal == 300
    assert (np.fromfile(saved / LABELS_FILE, np.float32) == LABELS).all()
    held = json.loads((saved / SETTINGS_FILE).read_text())
    assert held["k"] == 3
    assert (held["rows_seen"], held["feature_dim"]) == (300, 6)
    assert {path.name for path in saved.iterdir()} == {
        INDEX_FILE, LABELS_FILE, KEYS_FILE, REDUCTION_FILE, SETTINGS_FILE
    }  # fmt: skip
    assert Model.recognises(saved)


def test_k_may_be_changed_by_hand(saved: Path) -> None:
    path = saved / SETTINGS_FILE
    held = json.loads(path.read_text())
    path.write_text(json.dumps(held | {"k": 9}))
    answer = Model.load(saved).answer(batch(QUERIES, None), {"verbose": "true"})
    assert answer["labels"].shape == (40, 9)
    path.write_text(json.dumps(held | {"k": 301}))
    with pytest.raises(DataError, match=r"model_algo-1\.json: k = 301 is not allowed: up to 300"):
        Model.load(saved)
    path.write_text(json.dumps(held | {"k": "3", "index_metric": "L3"}))
    with pytest.raises(DataError, match=r"index_metric.*; k = "):
        Model.load(saved)


@pytest.mark.parametrize("name", [INDEX_FILE, LABELS_FILE, KEYS_FILE, REDUCTION_FILE, SETTINGS_FILE])
@pytest.mark.parametrize("damage", ["gone", "cut", "longer"])
def test_a_damaged_file_is_named(name: str, damage: str, saved: Path) -> None:
    path = saved / name
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-1] if damage == "cut" else content + b"x")
    if (name, damage) == (SETTINGS_FILE, "cut"):
        return  # the last byte is a line's end
    with pytest.raises(DataError, match=rf"(^|/){re.escape(name)}[:,]"):
        Model.load(saved)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 1), bit=st.integers(0, 44 * 8 - 1))
def test_a_damaged_header_gives_an_error_or_a_model(at: int, bit: int, saved: Path) -> None:
    path = saved / (INDEX_FILE, REDUCTION_FILE)[at]
    content = bytearray(path.read_bytes())
    kept = bytes(content)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    try:
        Model.load(saved)
    except ClientError:
        pass
    finally:
        path.write_bytes(kept)


def test_models_of_others_are_not_recognised(saved: Path) -> None:
    (saved / INDEX_FILE).write_bytes(b"something of another algorithm")
    assert not Model.recognises(saved)


def test_an_index_of_another_kind_is_refused(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    fit(tmp_path / "second", index_metric="INNER_PRODUCT").save(other)
    (saved / INDEX_FILE).write_bytes((other / INDEX_FILE).read_bytes())
    held = json.loads((saved / SETTINGS_FILE).read_text())
    size = (saved / INDEX_FILE).stat().st_size
    (saved / SETTINGS_FILE).write_text(json.dumps(held | {"index_bytes": size}))
    with pytest.raises(DataError, match="model_algo-1: its kind is another one"):
        Model.load(saved)


@pytest.mark.parametrize("kind", ["faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ"])
@pytest.mark.parametrize("text", [b"1e30,0,0,0,0,0\n", b"1,2,3,4,5,6\n0,0,-3e38,0,0,0\n"])
def test_numbers_too_large_for_distances_are_refused_and_not_looked_for_for_ever(
    kind: str, text: bytes, tmp_path: Path
) -> None:
    model = fit(tmp_path, index_type=kind, **({"faiss_index_pq_m": 2} if kind == "faiss.IVFPQ" else {}))
    with pytest.raises(
        DataError, match=r"line \d: feature \d = .* is too large for distances in float32: up to 1e\+15"
    ):
        model.answer(read_body(text, "text/csv"), {})


def test_training_refuses_numbers_too_large_for_distances(tmp_path: Path) -> None:
    rows = ROWS.copy()
    rows[6, 2] = 1e30
    with pytest.raises(DataError, match="line 7: feature 3 = 1e\\+30 is too large"):
        KNN().train(job(tmp_path, {"train": csv(rows, LABELS)}))


def test_sparse_rows_too_large_are_named() -> None:
    with pytest.raises(DataError, match="line 2: feature 4 = -1e\\+20 is too large"):
        check_values(read_body(b"0 1:2\n0 1:3 3:-1e20\n", "text/libsvm", feature_dim=6))


def test_lists_that_do_not_have_each_row_once_are_refused(tmp_path: Path) -> None:
    model, folder = fit(tmp_path / "job", index_type="faiss.IVFFlat"), tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    path = folder / INDEX_FILE
    content = bytearray(path.read_bytes())
    content[-8:] = (5_000_000).to_bytes(8, "little")  # the last number of the last list
    path.write_bytes(content)
    with pytest.raises(DataError, match="its lists do not have each row once"):
        Model.load(folder)


def test_directions_of_the_smallest_rows_are_known(tmp_path: Path) -> None:
    model = fit(tmp_path, index_metric="COSINE")
    tiny = QUERIES[:5] * np.float32(1e-38)
    found = model.answer(batch(tiny, None), {"verbose": "true"})["distances"]
    wanted = model.answer(batch(QUERIES[:5], None), {"verbose": "true"})["distances"]
    np.testing.assert_allclose(found, wanted, atol=1e-3)
