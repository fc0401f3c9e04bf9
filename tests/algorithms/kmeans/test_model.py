"""Saved centres, and what they answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from tests.algorithms.kmeans.jobs import batch, sparse
from wildsage.algorithms.kmeans.model import KMeansModel
from wildsage.algorithms.model_file import MODEL_FILE
from wildsage.contract.errors import DataError
from wildsage.data.readers import read_body

CENTRES = np.array([[0, 0, 0, 0], [1.5, 16, 14, 20]], np.float32)


def saved(folder: Path, names: tuple[str, ...] | None = None) -> KMeansModel:
    model = KMeansModel(CENTRES, np.array([3.0, 4.5]), names)
    model.save(folder)
    return model


@pytest.mark.parametrize("names", [None, ("a", "b", "ü", "d")])
def test_what_is_saved_is_loaded(names: tuple[str, ...] | None, tmp_path: Path) -> None:
    saved(tmp_path, names)
    assert [path.name for path in tmp_path.iterdir()] == [MODEL_FILE]
    assert KMeansModel.recognises(tmp_path)
    loaded = KMeansModel.load(tmp_path)
    assert np.array_equal(loaded.centres, CENTRES)
    assert loaded.weights.tolist() == [3, 4.5]
    assert loaded.names == names
    assert loaded.feature_dim == 4


def test_the_contracts_example() -> None:
    """Row 1.5,16,14,23 is 3 away from centre 1; both answers are floats."""
    model = KMeansModel(CENTRES, np.ones(2))
    columns = model.answer(read_body(b"1.5,16.0,14.0,23.0\n", "text/csv", feature_dim=4), {})
    assert list(columns) == ["closest_cluster", "distance_to_cluster"]
    assert {name: column.tolist() for name, column in columns.items()} == {
        "closest_cluster": [1.0], "distance_to_cluster": [3.0]
    }  # fmt: skip
    assert all(column.dtype == np.float32 for column in columns.values())


def test_sparse_rows_and_no_rows() -> None:
    model = KMeansModel(CENTRES, np.ones(2))
    rows = np.array([[0, 0, 0, 2], [0, 15, 0, 20]], np.float32)
    dense, thin = model.answer(batch(rows), {}), model.answer(batch(sparse(rows)), {})
    for name, column in dense.items():
        assert np.array_equal(column, thin[name])
    assert len(model.answer(batch(rows[:0]), {})["closest_cluster"]) == 0


def test_a_distance_beyond_float32_is_the_largest() -> None:
    model = KMeansModel(np.full((1, 3), -3e38, np.float32), np.ones(1))
    columns = model.answer(batch(np.full((1, 3), 3e38, np.float32)), {})
    assert columns["distance_to_cluster"][0] == np.finfo(np.float32).max


@pytest.mark.parametrize(
    ("facts", "tensors"),
    [
        ({"format": "pca", "version": 1, "feature_names": None}, {}),
        ({"format": "kmeans", "version": 2, "feature_names": None}, {}),
        ({"format": "kmeans"}, {}),
        ({"format": "kmeans", "version": 1, "feature_names": ["a"]}, {}),
        ({"format": "kmeans", "version": 1, "feature_names": 3}, {}),
        ([1], {}),
        ({"format": "kmeans", "version": 1, "feature_names": None}, {"weights": np.ones(3)}),
        ({"format": "kmeans", "version": 1, "feature_names": None}, {"weights": -np.ones(2)}),
        ({"format": "kmeans", "version": 1, "feature_names": None}, {"centres": np.full((2, 4), np.nan, np.float32)}),
        ({"format": "kmeans", "version": 1, "feature_names": None}, {"centres": np.ones((2, 4))}),
        ({"format": "kmeans", "version": 1, "feature_names": None}, {"centres": np.ones(2, np.float32)}),
    ],
)
def test_a_file_that_does_not_fit_is_refused(facts: object, tensors: dict[str, object], tmp_path: Path) -> None:
    content = {"centres": CENTRES, "weights": np.ones(2), **tensors}
    (tmp_path / MODEL_FILE).write_bytes(save(content, {"wildsage": json.dumps(facts)}))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="model_algo-1: "):
        KMeansModel.load(tmp_path)


def test_others_models_are_not_recognised(tmp_path: Path) -> None:
    assert not KMeansModel.recognises(tmp_path)
    for content in (b"", b"{}", save({"centres": CENTRES}), save({"c": CENTRES}, {"wildsage": '{"format": "pca"}'})):
        (tmp_path / MODEL_FILE).write_bytes(content)
        assert not KMeansModel.recognises(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), max_size=3), st.integers(0, 600))
def test_a_damaged_file_is_loaded_or_refused(tmp_path: Path, flips: list[tuple[int, int]], cut: int) -> None:
    saved(tmp_path)
    data = bytearray((tmp_path / MODEL_FILE).read_bytes())
    for place, bits in flips:
        data[place % len(data)] ^= bits
    (tmp_path / MODEL_FILE).write_bytes(data[:cut])
    KMeansModel.recognises(tmp_path)
    try:
        loaded = KMeansModel.load(tmp_path)
    except DataError:
        return
    loaded.nearest(np.zeros((1, loaded.feature_dim), np.float32))
