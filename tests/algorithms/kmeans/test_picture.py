"""Pictures of clusters."""

from __future__ import annotations

import numpy as np
import pytest

from wildsage.algorithms.kmeans import picture


def rows_around(middles: np.ndarray, each: int = 30) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=(len(middles) * each, middles.shape[1]))
    return (np.repeat(middles, each, axis=0) + 0.1 * noise).astype(np.float32)


@pytest.mark.parametrize("features", [3, 1200])
def test_clusters_lie_apart_on_two_components(features: int) -> None:
    middles = np.zeros((3, features), np.float32)
    middles[1, 0], middles[2, 1] = 50, 80
    found = picture.draw(rows_around(middles), middles)
    assert found is not None
    series = {each.name: np.array([each.x, each.y]) for each in found.panels[0].series}
    assert [series[f"cluster {k}"].shape[1] for k in range(3)] == [30, 30, 30]
    centres = series["centres"]
    for k in range(3):
        away = np.linalg.norm(series[f"cluster {k}"][:, :, None] - centres[:, None, :], axis=0)
        assert (away.argmin(axis=1) == k).all()
    assert "of the variance" in found.panels[0].x_label


def test_two_features_are_the_axes_themselves() -> None:
    middles = np.array([[100.0, 5.0], [200.0, 7.0]], np.float32)
    rows = rows_around(middles)
    found = picture.draw(rows, middles, ("weight", "length"))
    assert found is not None
    panel = found.panels[0]
    assert (panel.x_label, panel.y_label) == ("weight", "length")
    drawn = sorted(zip(panel.series[0].x, panel.series[0].y, strict=True))
    np.testing.assert_allclose(drawn, sorted(map(tuple, rows[:30].tolist())), rtol=1e-6)


def test_of_many_clusters_the_small_ones_share_a_cloud() -> None:
    middles = np.arange(40, dtype=np.float32).reshape(20, 2) * 10
    found = picture.draw(rows_around(middles), middles)
    assert found is not None
    names = [each.name for each in found.panels[0].series]
    assert len(names) == picture.SHOWN_CLUSTERS + 2
    assert names[-2:] == ["other clusters", "centres"]


def test_without_rows_there_is_no_picture() -> None:
    assert picture.draw(np.zeros((0, 3), np.float32), np.zeros((2, 3), np.float32)) is None
