"""Models: their files, and their answers."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st

from tests.algorithms.xgboost.jobs import binary, csv_of, rows, train
from wildsage.algorithms.xgboost import booster_file
from wildsage.algorithms.xgboost.model import XGBoostModel
from wildsage.contract.errors import ClientError, DataError
from wildsage.data.batch import Batch
from wildsage.data.readers import read_body


def fitted(rounds: int = 3, **parameters: Any) -> xgboost.Booster:
    values = binary(100)
    if parameters.get("num_class"):
        values[:, 0] = np.arange(100) % parameters["num_class"]
    told = {"nthread": 1, "objective": "binary:logistic", **parameters}
    return xgboost.train(told, xgboost.DMatrix(values[:, 1:], values[:, 0]), rounds)


def loaded(folder: Path, content: bytes, name: str = "xgboost-model") -> XGBoostModel:
    (folder / name).write_bytes(content)
    return XGBoostModel.load(folder)


def asked(text: bytes = b"1,2,3,4,5\n-1,,0,1,2\n", kind: str = "text/csv") -> Batch:
    return read_body(text, kind, feature_dim=5, missing="nan")


@pytest.mark.parametrize("form", ["ubj", "json"])
@pytest.mark.parametrize("name", ["xgboost-model", "mine.ubj", "other.json"])
def test_files_of_the_library_are_models(tmp_path: Path, form: str, name: str) -> None:
    booster = fitted()
    (tmp_path / ".hidden").write_text("{")
    model = loaded(tmp_path, bytes(booster.save_raw(form)), name)
    assert XGBoostModel.recognises(tmp_path)
    batch = asked()
    expected = booster.predict(xgboost.DMatrix(batch.dense()))
    assert model.answer(batch, {})["score"] == pytest.approx(expected)


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    for protocol in range(2, 6):
        with pytest.raises(DataError, match=r"xgboost-model: a pickled booster.*save_model"):
            loaded(tmp_path, pickle.dumps(Trap(), protocol))
    assert XGBoostModel.recognises(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"binf" + bytes(300), bytes(300), b"", b"hello"])
def test_the_old_binary_form_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="neither UBJSON nor JSON"):
        loaded(tmp_path, content)


def test_another_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"a": 1}')
    assert not XGBoostModel.recognises(tmp_path)
    assert not XGBoostModel.recognises(tmp_path / "nowhere")


WHOLE = bytes(fitted().save_raw("ubj"))
AS_JSON = bytes(fitted().save_raw("json"))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_file_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(DataError):
        booster_file.of_bytes(WHOLE[:length], "m")


@given(st.integers(0, len(AS_JSON) - 1))
def test_json_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(DataError):
        booster_file.of_bytes(AS_JSON[:length], "m")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(content: bytes) -> None:
    for begin in (b"", b"{", b"{L", b'{"'):
        with pytest.raises(DataError):
            booster_file.of_bytes(begin + content, "m")


@pytest.mark.parametrize("content", [b'{"learner": 1}', b'{"learner": {}}', b"{}", b"{" + b"[" * 100000])
def test_json_without_a_booster_is_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        booster_file.of_bytes(content, "m")


@pytest.mark.parametrize(
    ("key", "node", "value"),
    [("left_children", 0, 0), ("right_children", 0, 1), ("left_children", 0, 9999), ("split_indices", 0, 5)],
)
def test_nodes_that_are_no_tree_are_refused(key: str, node: int, value: int) -> None:
    """The library would walk in a circle, or beyond the end."""
    document = json.loads(AS_JSON)
    document["learner"]["gradient_booster"]["model"]["trees"][1][key][node] = value
    with pytest.raises(DataError, match="m: is damaged: the nodes of tree 1 are no tree of 5 features"):
        booster_file.of_bytes(json.dumps(document).encode(), "m")


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=3))
def test_damage_is_refused_or_does_no_harm(changes: list[tuple[int, int]]) -> None:
    content = bytearray(WHOLE)
    for place, value in changes:
        content[place] = value
    with contextlib.suppress(DataError, KeyError):
        booster_file._check(booster_file._document(bytes(content), "m")["learner"], "m")


@pytest.mark.parametrize(
    ("key", "place", "value"),
    [("parents", 1, 1 << 20), ("split_type", 0, 1), ("sum_hessian", slice(1, None), []), ("default_left", 0, None)],
)
def test_what_nodes_have_fits_them(key: str, place: Any, value: Any) -> None:
    """The library crashes on a parent that is not there, and on categories that a split does not have."""
    document = json.loads(AS_JSON)
    held = document["learner"]["gradient_booster"]["model"]["trees"][0][key]
    if value is None:
        held.pop()
    else:
        held[place] = value
    with pytest.raises(DataError, match="the nodes of tree 0 are no tree"):
        booster_file.of_bytes(json.dumps(document).encode(), "m")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tree_info", [0, 7, 0], "not those of 1 outputs"),
        ("iteration_indptr", [0, 1, 2, 9], "its rounds are not those"),
    ],
)
def test_trees_belong_to_outputs_and_rounds(key: str, value: list[int], said: str) -> None:
    document = json.loads(AS_JSON)
    document["learner"]["gradient_booster"]["model"][key] = value
    with pytest.raises(DataError, match=said):
        booster_file.of_bytes(json.dumps(document).encode(), "m")


def test_sparse_rows_are_missing_where_they_are_empty(tmp_path: Path) -> None:
    model = loaded(tmp_path, WHOLE)
    sparse = read_body(b"0:1 2:3\n4:5\n", "text/libsvm", missing="nan")
    dense = np.full((2, 5), np.nan, np.float32)
    dense[0, 0], dense[0, 2], dense[1, 4] = 1, 3, 5
    expected = fitted().predict(xgboost.DMatrix(dense))
    assert model.answer(sparse, {})["score"] == pytest.approx(expected)
    narrow = read_body(b"0:1\n", "text/libsvm", missing="nan")
    assert model.answer(narrow, {})["score"].shape == (1,)
    with pytest.raises(ClientError, match="9 features are not allowed: the model has 5"):
        model.answer(read_body(b"8:1\n", "text/libsvm"), {})


def test_no_rows_have_no_answers(tmp_path: Path) -> None:
    model = loaded(tmp_path, WHOLE)
    assert model.answer(asked().part(0, 0), {})["score"].shape == (0,)


KEYS = {
    "binary:logistic": {"predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores"},
    "binary:logitraw": {"predicted_label", "labels", "raw_score", "raw_scores"},
    "binary:hinge": {"predicted_label", "labels", "raw_score", "raw_scores"},
    "multi:softmax": {"predicted_label", "labels", "raw_score", "raw_scores"},
    "multi:softprob": {"predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores"},
    "reg:squarederror": {"predicted_score"},
}


@pytest.mark.parametrize("objective", KEYS)
def test_selected_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str) -> None:
    classes = 3 if objective.startswith("multi") else 2
    more = {"num_class": 3} if classes == 3 else {}
    booster = fitted(objective=objective, **more)
    names = ["probabilities", "labels", "predicted_label", "probability", "raw_score", "raw_scores", "predicted_score"]
    monkeypatch.setenv("SAGEMAKER_INFERENCE_OUTPUT", ", ".join(names).upper())
    model = loaded(tmp_path, bytes(booster.save_raw("ubj")))
    batch = asked()
    answers = model.answer(batch, {})
    assert list(answers) == names
    for name, column in answers.items():
        known = name in KEYS[objective]
        assert np.isfinite(column).all() == known
        # Of one number, the service's raw scores are a pair, even where it is one of several classes.
        wide = 2 if (objective, name) == ("multi:softmax", "raw_scores") else classes
        assert column.shape == ((2, wide) if known and name in ("labels", "probabilities", "raw_scores") else (2,))
    scores = booster.predict(xgboost.DMatrix(batch.dense()))
    if objective == "binary:logistic":
        assert answers["predicted_label"].tolist() == (scores > 0.5).astype(int).tolist()
        assert answers["probabilities"] == pytest.approx(np.stack([1 - scores, scores], 1))
    if objective == "multi:softprob":
        assert answers["predicted_label"].tolist() == scores.argmax(1).tolist()
        assert answers["probability"] == pytest.approx(scores.max(1))
    with pytest.raises(ClientError, match="outputs = likelihood is not allowed"):
        model.answer(batch, {"outputs": "likelihood"})


def test_folds_vote_on_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        booster = fitted(number + 1, objective="multi:softmax", num_class=3)
        (tmp_path / f"xgboost-model-{number}").write_bytes(booster.save_raw("ubj"))
    model = XGBoostModel.load(tmp_path)
    values = rows(40)[:, 1:]
    each = np.stack([b.handle.inplace_predict(values) for b in model.boosters.values()]).astype(int)
    expected = [np.bincount(column).argmax() for column in each.T]
    assert model._predict(values).tolist() == expected
    monkeypatch.setenv("SAGEMAKER_INFERENCE_ENSEMBLE", "false")
    assert XGBoostModel.load(tmp_path)._predict(values).tolist() == each[0].tolist()
    (tmp_path / "xgboost-model-3").write_bytes(WHOLE)
    with pytest.raises(DataError, match="do not belong together"):
        XGBoostModel.load(tmp_path)


def test_an_error_names_the_features(tmp_path: Path) -> None:
    booster = fitted()
    booster.feature_names = ["a", "b", "c", "d", "e"]
    model = loaded(tmp_path, bytes(booster.save_raw("ubj")))
    with pytest.raises(ClientError, match=r"the model has 5 \(a, b, c, d, e\)"):
        model.answer(read_body(b"1,2\n", "text/csv"), {})


def test_a_trained_model_answers_as_its_file_does(tmp_path: Path) -> None:
    model = train(tmp_path, {"train": csv_of(rows(100))}, num_round=3)
    (tmp_path / "model").mkdir()
    model.save(tmp_path / "model")
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["xgboost-model"]
    again = XGBoostModel.load(tmp_path / "model")
    again.warm_up()
    values = rows(50, seed=3)[:, 1:]
    assert np.array_equal(again._predict(values), model._predict(values))
