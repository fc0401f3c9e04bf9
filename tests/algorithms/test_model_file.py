"""The file that several algorithms' models have in common."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as save_tensors

from wildsage.algorithms import model_file
from wildsage.algorithms.model_file import KEY, MODEL_FILE, feature_names
from wildsage.contract.errors import DataError

if TYPE_CHECKING:
    from wildsage.algorithms.model_file import Arrays, Facts

ARRAYS = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.arange(2.0)}


def pair(facts: Facts, arrays: Arrays) -> tuple[Facts, Arrays]:
    return facts, arrays


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    model_file.save(tmp_path, "kind", {"seed": 3}, ARRAYS)
    facts, arrays = model_file.load(tmp_path, "kind", pair)
    assert facts == {"format": "kind", "version": 1, "seed": 3}
    assert {name: array.tolist() for name, array in arrays.items()} == {n: a.tolist() for n, a in ARRAYS.items()}
    assert [path.name for path in tmp_path.iterdir()] == [MODEL_FILE]


def test_equal_models_give_equal_bytes() -> None:
    first = model_file.encode("kind", {"x": 1, "y": 2}, ARRAYS)
    assert model_file.encode("kind", {"y": 2, "x": 1}, dict(reversed(ARRAYS.items()))) == first


def test_a_file_of_another_kind_or_version_is_told(tmp_path: Path) -> None:
    model_file.save(tmp_path, "kind", {}, ARRAYS)
    assert model_file.holds(tmp_path, "kind")
    assert not model_file.holds(tmp_path, "other")
    with pytest.raises(DataError, match=r'model_algo-1: not a model of other, version 1: one of "kind" version 1'):
        model_file.load(tmp_path, "other", pair)
    (tmp_path / MODEL_FILE).write_bytes(save_tensors(ARRAYS, {KEY: json.dumps({"format": "kind", "version": 2})}))
    with pytest.raises(DataError, match="version 2"):
        model_file.load(tmp_path, "kind", pair)


@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError, OverflowError])
def test_what_the_model_refuses_is_told_of_the_file(error: type[Exception], tmp_path: Path) -> None:
    def refuse(facts: Facts, arrays: Arrays) -> None:
        raise error("it has no legs")

    model_file.save(tmp_path, "kind", {}, ARRAYS)
    with pytest.raises(DataError, match=r"not a model of kind: .*no legs"):
        model_file.load(tmp_path, "kind", refuse)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3), st.integers(0, 10**6))
def test_any_bytes_are_a_model_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    content = bytearray(model_file.encode("kind", {"feature_names": ["x", "y"]}, ARRAYS))
    for place, bits in flips:
        content[place % len(content)] ^= bits
    (folder / MODEL_FILE).write_bytes(content[: cut % (2 * len(content))])
    model_file.holds(folder, "kind")
    with contextlib.suppress(DataError):
        facts, _ = model_file.load(folder, "kind", pair)
        assert facts["format"] == "kind"


def test_names_are_those_of_all_features() -> None:
    assert feature_names({"feature_names": None}, 2) is None
    assert feature_names({"feature_names": ["x", "y"]}, 2) == ("x", "y")
    for names in (["x"], "xy", [1, 2], {"x": 1, "y": 2}):
        with pytest.raises(ValueError, match="not those of 2 features"):
            feature_names({"feature_names": names}, 2)
