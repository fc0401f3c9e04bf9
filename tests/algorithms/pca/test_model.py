"""A model's files and answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from tests.algorithms.pca.jobs import batch, csv, job, sparse, table
from wildsage.algorithms.model_file import MODEL_FILE
from wildsage.algorithms.pca import PCA
from wildsage.algorithms.pca.model import STATE_FILE, PCAModel
from wildsage.contract.errors import DataError
from wildsage.data.readers import read_body


def fitted(folder: Path, rows: Any, **values: Any) -> PCAModel:
    return PCA().train(job(folder, {"train": csv(rows)}, **values))


def saved(model: PCAModel, folder: Path) -> Path:
    folder.mkdir(parents=True)
    model.save(folder)
    return folder


@pytest.mark.parametrize("subtract_mean", [True, False])
def test_projections_are_in_ascending_order(subtract_mean: bool, tmp_path: Path) -> None:
    rows = table(300, 7)
    model = fitted(tmp_path, rows, num_components=3, subtract_mean=subtract_mean)
    found = model.answer(batch(rows), {})["projection"]
    mean = rows.mean(axis=0, dtype=float) if subtract_mean else np.zeros(7)
    assert np.allclose(found, (rows - mean) @ model.vectors, atol=1e-5)
    assert found.shape == (300, 3)
    spread = (found.astype(float) ** 2).sum(axis=0)
    assert np.allclose(np.sqrt(spread), model.singular, rtol=1e-5)
    assert (np.diff(spread) > 0).all()


def test_an_answer_is_the_same_in_any_company(tmp_path: Path) -> None:
    rows = table(300, 70)
    model = fitted(tmp_path, rows, num_components=20)
    together = model.answer(batch(rows[:11]), {})["projection"]
    for k in range(11):
        assert np.array_equal(model.answer(batch(rows[k : k + 1]), {})["projection"][0], together[k])


def test_projections_of_a_large_mean_keep_their_digits(tmp_path: Path) -> None:
    rows = table(500, 5, mean=1e6, spread=4)
    model = fitted(tmp_path, rows)
    wanted = (rows.astype(float) - rows.mean(axis=0, dtype=float)) @ model.vectors
    assert np.allclose(model.answer(batch(rows), {})["projection"], wanted, atol=1e-5)


def test_sparse_rows_are_answered_as_dense_ones(tmp_path: Path) -> None:
    rows = table(300, 40) * (np.random.default_rng(1).random((300, 40)) < 0.1)
    model = fitted(tmp_path, rows.astype(np.float32))
    dense, few = (model.answer(batch(each), {})["projection"] for each in (rows, sparse(rows)))
    assert np.allclose(dense, few, atol=1e-5)


def test_a_request_body_is_answered(tmp_path: Path) -> None:
    model = fitted(tmp_path, table(50, 3))
    found = model.answer(read_body(b"1,2,3\n4,5,6\n", "text/csv", feature_dim=3), {})
    assert found["projection"].shape == (2, 2)
    assert model.answer(read_body(b"", "text/csv", feature_dim=3), {})["projection"].shape == (0, 2)


def test_the_file_has_the_names_of_the_contract(tmp_path: Path) -> None:
    model = fitted(tmp_path, table(50, 3))
    folder = saved(model, tmp_path / "model")
    with safe_open(folder / MODEL_FILE, framework="numpy") as file:
        shapes = {name: file.get_tensor(name).shape for name in file.offset_keys()}
    assert shapes == {"mean": (3,), "v": (3, 2), "s": (2,)}
    loaded = PCAModel.load(folder)
    assert loaded.facts == model.facts
    assert np.isclose(loaded.explained.sum(), model.explained.sum())
    assert PCA.model_in(folder) is PCAModel


def test_a_model_without_its_state_answers(tmp_path: Path) -> None:
    folder = saved(fitted(tmp_path, table(50, 3)), tmp_path / "model")
    (folder / STATE_FILE).unlink()
    loaded = PCAModel.load(folder)
    assert loaded.state_arrays() is None
    loaded.warm_up()
    loaded.save(tmp_path)
    assert not (tmp_path / STATE_FILE).exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x10", b"MXNet NDArray file", (9).to_bytes(8, "little") + b"{}", b"\xff" * 64]
)
def test_files_of_others_are_not_taken_for_ours(content: bytes, tmp_path: Path) -> None:
    (tmp_path / MODEL_FILE).write_bytes(content)
    assert not PCAModel.recognises(tmp_path)
    with pytest.raises(DataError, match="not a model of pca"):
        PCAModel.load(tmp_path)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    folder = saved(fitted(tmp_path, table(50, 3)), tmp_path / "model")
    whole = (folder / MODEL_FILE).read_bytes()
    (folder / MODEL_FILE).write_bytes(whole[:-9])
    with pytest.raises(DataError, match=r"model_algo-1.*not a model of pca"):
        PCAModel.load(folder)
    (folder / MODEL_FILE).write_bytes(whole)
    state = (folder / STATE_FILE).read_bytes()
    for damaged in (state[:-9], b"", json.dumps({}).encode()):
        (folder / STATE_FILE).write_bytes(damaged)
        loaded = PCAModel.load(folder)
        if damaged:
            with pytest.raises(DataError, match="not the state of a PCA"):
                loaded.state_arrays()


def test_numbers_that_are_not_finite_are_told(tmp_path: Path) -> None:
    model = fitted(tmp_path / "job", table(50, 3))
    model.mean[1] = np.nan
    with pytest.raises(DataError, match="numbers that are not finite"):
        PCAModel.load(saved(model, tmp_path / "model"))
