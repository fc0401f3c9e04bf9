"""Pictures as numbers: made, written, read, refused."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wildsage.contract import pictures
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.metrics import MetricRecord
from wildsage.contract.pictures import Panel, Picture, Series, learning_curves, read_pictures, write_pictures


def made() -> list[Picture]:
    return [
        pictures.explained_variance([0.7, 0.2]),
        pictures.clusters({"cluster 0": ([1, 2], [3, 4]), "cluster 1": ([5], [6])}, ("one", "other")),
        pictures.importance({"age": 1.0, "height": 5.0}, "gain"),
        pictures.scores({"score": [0.5, 0.25, 3]}),
        pictures.confusion(["a", "b"], [[5, 1], [0, 7]]),
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_pictures(tmp_path / "plots.json", made())
    assert read_pictures(tmp_path / "plots.json") == made()
    assert read_pictures(tmp_path / "none.json") == []


def test_numbers_are_where_they_belong() -> None:
    variance, points, importance, scores, confusion = made()
    assert [panel.series[0].y for panel in variance.panels] == [[0.7, 0.2], [0.7, pytest.approx(0.9)]]
    assert [series.name for series in points.panels[0].series] == ["cluster 0", "cluster 1"]
    assert importance.panels[0].columns == ["height", "age"]
    assert importance.panels[0].series[0].y == [5.0, 1.0]
    assert scores.panels[0].series[0] == Series("score", [0, 1, 2], [0.5, 0.25, 3])
    assert confusion.panels[0].values == [[5, 1], [0, 7]]


def test_a_gap_is_null_in_the_file(tmp_path: Path) -> None:
    write_pictures(tmp_path / "plots.json", [pictures.scores({"score": [1, math.nan, math.inf]})])
    assert json.loads((tmp_path / "plots.json").read_text())["pictures"][0]["panels"][0]["series"][0]["y"] == [
        1,
        None,
        None,
    ]
    found = read_pictures(tmp_path / "plots.json")[0].panels[0].series[0].y
    assert found[0] == 1
    assert math.isnan(found[1])


def test_a_long_series_keeps_its_extremes() -> None:
    values = [0.0] * 100_000
    values[50_001], values[70_007] = 9.0, -9.0
    series = pictures.scores({"score": values}).panels[0].series[0]
    assert len(series.x) <= pictures.MOST_POINTS
    assert (series.x[series.y.index(9.0)], series.x[series.y.index(-9.0)]) == (50_001, 70_007)
    assert series.x == sorted(series.x)


def record(name: str, value: float, epoch: int | None = None) -> MetricRecord:
    return MetricRecord(name, value, 0.0, epoch)


def test_learning_curves_share_a_panel_by_metric() -> None:
    found = learning_curves(
        [
            record("train:loss", 3, 1),
            record("validation:loss", 4, 1),
            record("train:loss", 2, 2),
            record("validation:loss", math.nan, 2),
            record("train:throughput", 100, 1),
            record("train:progress", 50, 1),
            record("test:accuracy", 0.5),
            record("rho", 0.1),
            record("rho", 0.2),
        ]
    )
    assert found is not None
    assert [(panel.title, [series.name for series in panel.series]) for panel in found.panels] == [
        ("loss", ["train", "validation"]),
        ("rho", ["rho"]),
    ]
    assert found.panels[0].series == [Series("train", [1, 2], [3, 2]), Series("validation", [1], [4])]
    assert found.panels[1].series[0].x == [1, 2]
    assert learning_curves([record("test:accuracy", 0.5)]) is None


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (Picture("../x", "t", [Panel("lines")]), "small letters"),
        (Picture("x", "t", []), "no panels"),
        (Picture("x", "t", [Panel("pie")]), 'kind "pie" is not allowed: lines, bars'),  # type: ignore[arg-type]
        (Picture("x", "t", [Panel("lines", series=[Series("s", [1], [])])]), "more of x than of y"),
        (Picture("x", "t", [Panel("bars", series=[Series("s", [1], [1])])]), "not as many values"),
        (Picture("x", "t", [Panel("matrix", rows=["a"], columns=["b"], values=[[1, 2]])]), "rows times columns"),
    ],
)
def test_a_picture_that_cannot_be_drawn_is_refused(picture: Picture, told: str, tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=told):
        write_pictures(tmp_path / "plots.json", [picture])
    assert not (tmp_path / "plots.json").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["pictures", "name", "panels"]), inner),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | JSON.map(lambda value: json.dumps({"pictures": value}).encode()))
def test_any_bytes_are_pictures_or_an_error(content: bytes, tmp_path: Path) -> None:
    path: Any = tmp_path / "plots.json"
    path.write_bytes(content)
    with contextlib.suppress(DataError):
        assert all(isinstance(each, Picture) for each in read_pictures(path))
