"""Figures have the data that they were given, and files are pictures of a size."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest

from wildsage import plots
from wildsage.contract import pictures
from wildsage.contract.errors import ClientError
from wildsage.contract.pictures import Panel, Picture, Series


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its first chunk."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return int(width), int(height)


def test_lines_have_their_points() -> None:
    series = [Series("train", [1, 2], [3, 2]), Series("_odd $name$", [1, 2], [4, 5])]
    made = plots.figure(Picture("x", "The title", [Panel("lines", "loss", "epoch", "value", series)]))
    (axes,) = made.axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[1, 3], [2, 2]], [[1, 4], [2, 5]]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["train", r" odd \$name\$"]
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("loss", "epoch", "value")
    assert made.get_suptitle() == "The title"


def test_panels_are_in_their_order() -> None:
    made = plots.figure(pictures.explained_variance([0.7, 0.2, 0.05]))
    assert [axes.lines[0].get_ydata().tolist() for axes in made.axes] == [
        [0.7, 0.2, 0.05],
        pytest.approx([0.7, 0.9, 0.95]),
    ]


def test_points_bars_and_a_matrix() -> None:
    points = plots.figure(pictures.clusters({"0": ([1, 2], [3, 4]), "1": ([5], [6])}, ("a", "b"))).axes[0]
    assert [each.get_offsets().tolist() for each in points.collections] == [[[1, 3], [2, 4]], [[5, 6]]]
    bars = plots.figure(pictures.importance({"age": 1.0, "height": 5.0})).axes[0]
    assert [bar.get_height() for bar in bars.patches] == [5, 1]
    assert [label.get_text() for label in bars.get_xticklabels()] == ["height", "age"]
    matrix = plots.figure(pictures.confusion(["a", "b"], [[5, 1], [0, 7]])).axes[0]
    assert matrix.images[0].get_array().tolist() == [[5, 1], [0, 7]]
    assert [text.get_text() for text in matrix.texts] == ["5", "1", "0", "7"]
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["a", "b"]


def test_centres_stand_out_and_classes_are_not_joined_by_lines() -> None:
    drawn = plots.figure(pictures.clusters({"0": ([1, 2], [3, 4]), "centres": ([1.5], [3.5])}, ("a", "b"))).axes[0]
    rows, centres = drawn.collections
    assert centres.get_sizes()[0] > 4 * rows.get_sizes()[0]
    classes, distances = plots.figure(pictures.scores({"cluster": [0, 2] * 30, "distance": [0.5, 2] * 30})).axes
    assert (classes.lines[0].get_linestyle(), distances.lines[0].get_linestyle()) == ("None", "-")
    assert (classes.get_title(), classes.get_ylabel()) == ("", "cluster")


def test_a_file_is_a_picture_of_a_size(tmp_path: Path) -> None:
    picture = pictures.scores({"score": [1, 2, float("nan"), 4]})
    plots.save(picture, tmp_path / "new" / "small.png", dpi=50)
    plots.save(picture, tmp_path / "large.png", dpi=100)
    assert size_of(tmp_path / "new" / "small.png") == (300, 210)
    assert size_of(tmp_path / "large.png") == (600, 420)


def test_a_picture_that_is_none_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="no panels"):
        plots.save(Picture("x", "t", []), tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ClientError, match=r'matplotlib, which is not installed: pip install "wildsage\[plot\]"'):
        plots.figure(pictures.scores({"score": [1, 2]}))
