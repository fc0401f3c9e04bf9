"""Instances of a request as rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.contract.errors import ClientError, DataError
from wildsage.data.batch import SparseRows
from wildsage.data.instances import batch_of, document_decoder, instance_decoder

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
FORMS = st.sampled_from(["features", "long", "shaped", "list", "text", "sparse"])


def instance(row: list[float], form: str) -> Any:
    """A row in one of the forms that a request may have."""
    if form == "features":
        return {"features": row}
    if form == "long":
        return {"data": {"features": {"values": row}}}
    if form == "shaped":
        return {"data": {"features": {"values": row, "shape": [len(row)]}}, "label": 1}
    if form == "text":
        return ", ".join(map(str, row))
    if form == "sparse":
        keys = [place for place, number in enumerate(row) if number]
        return {"data": {"features": {"keys": keys, "shape": [len(row)], "values": [row[key] for key in keys]}}}
    return row


@given(st.data(), st.integers(1, 6), st.integers(1, 5))
def test_every_form_gives_the_rows(data: st.DataObject, count: int, width: int) -> None:
    rows = data.draw(st.lists(st.lists(FLOATS, min_size=width, max_size=width), min_size=count, max_size=count))
    forms = data.draw(st.lists(FORMS, min_size=count, max_size=count))
    instances = [instance(row, form) for row, form in zip(rows, forms, strict=True)]
    body = json.dumps({"instances": instances}).encode()
    lines = "\n".join(map(json.dumps, instances)).encode()
    for batch in (
        batch_of(instances, width),
        batch_of(document_decoder.decode(body).instances, width, checked=True),
        batch_of(instance_decoder.decode_lines(lines), width, checked=True),
    ):
        np.testing.assert_array_equal(batch.dense(), np.array(rows, np.float32))
        assert isinstance(batch.features, SparseRows) == ("sparse" in forms)
        assert (batch.labels, batch.weights) == (None, None)
        assert batch.dense().dtype == np.float32


def test_a_number_is_a_row_of_one_feature() -> None:
    assert batch_of([1, 2.5], 1).dense().tolist() == [[1], [2.5]]
    assert batch_of([], 3).dense().shape == (0, 3)


def test_a_sparse_instance_may_lack_its_shape() -> None:
    batch = batch_of([{"data": {"features": {"keys": [2], "values": [7]}}}], 4)
    assert batch.dense().tolist() == [[0, 0, 7, 0]]


FORM = '{"features": [1.5, 2.0]}, {"data": {"features": {"values": [1.5, 2.0]}}}, or [1.5, 2.0]'


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ([1], "instance 2: 1 feature, but the model takes 2"),
        ({"features": [1, 2, 3]}, "instance 2: 3 features, but the model takes 2"),
        (5, "instance 2: 1 feature, but the model takes 2"),
        ("1,2,3", "instance 2: 3 features, but the model takes 2"),
        ("1,nan", "instance 2, column 2: NaN and infinity are not allowed: a finite 32-bit float"),
        ("a text", f'instance 2: "a text" is no text of numbers; wanted is {FORM}'),
        (None, f"instance 2: Expected `float | str | object | array`, got `null`; wanted is {FORM}"),
        ({}, f"instance 2: there are no features; wanted is {FORM}"),
        ({"featurs": [1, 2]}, f"instance 2: there are no features; wanted is {FORM}"),
        ([1, "x"], f"instance 2: Expected `float | null`, got `str` - at `$[1]`; wanted is {FORM}"),
        ([1, True], f"instance 2: Expected `float | null`, got `bool` - at `$[1]`; wanted is {FORM}"),
        ([1, None], "instance 2, column 2: null is not allowed: a number"),
        ([1e39, 1], "instance 2, column 1: NaN and infinity are not allowed: a finite 32-bit float"),
        (instance([0, 1, 2], "sparse"), "instance 2: 3 features, but the model takes 2"),
        (
            {"data": {"features": {"keys": [2], "shape": [2], "values": [1]}}},
            "instance 2: key 2 is not allowed: 0 to 1",
        ),
        ({"data": {"features": {"keys": [0, 1], "shape": [2], "values": [1]}}}, "instance 2: 2 keys for 1 values"),
    ],
)
def test_what_is_wrong_is_said_with_the_instance(bad: Any, told: str) -> None:
    with pytest.raises(DataError) as caught:
        batch_of([[1, 2], {"features": [1, 2]}, bad], 2)
    assert str(caught.value) == told
    assert caught.value.instance == 2


def test_missing_numbers() -> None:
    batch = batch_of([[None, 1e39], {"features": [1, None]}], 2, missing="nan")
    np.testing.assert_array_equal(batch.dense(), np.array([[np.nan, np.nan], [1, np.nan]], np.float32))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["features", "data", "values", "keys", "shape", "label", "x"]), inner)
    ),
    max_leaves=8,
)


@given(st.lists(VALUES, max_size=3), st.integers(1, 3))
def test_anything_gives_rows_or_an_error(instances: list[Any], width: int) -> None:
    try:
        batch = batch_of(instances, width)
    except ClientError:
        return
    assert batch.dense().shape == (len(instances), width)
    assert np.isfinite(batch.dense()).all()
