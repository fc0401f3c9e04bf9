"""Pictures drawn: figures of matplotlib, which is loaded late, and their files; contract.pictures says of what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wildsage.contract.errors import ClientError
from wildsage.contract.files import new_file
from wildsage.contract.pictures import CENTRES_NAME, check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wildsage.contract.pictures import Panel, Picture, Series

INSTALL = 'pip install "wildsage[plot]"'
PANEL_INCHES = (6.0, 4.2)
PANELS_A_ROW = 3
MOST_LEGEND = 20
MOST_WRITTEN = 15  # rows of a matrix up to which its numbers are written into it
FEW_POINTS = 30  # of a line, up to which each is marked
MOST_CLASSES = 100
CENTRES = {"s": 70, "marker": "X", "color": "black", "edgecolors": "white", "linewidths": 0.8, "zorder": 3}


def figure(picture: Picture) -> Any:
    """A matplotlib Figure of a picture, one Axes a panel, in their order. It belongs to no window and no backend.

    Raises ClientError if matplotlib is not installed, with the command that installs it, or for a picture that cannot
    be drawn.
    """
    check(picture)
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ClientError(f"pictures need matplotlib, which is not installed: {INSTALL}") from error
    across = min(PANELS_A_ROW, len(picture.panels))
    down = -(-len(picture.panels) // across)
    made = Figure(figsize=(PANEL_INCHES[0] * across, PANEL_INCHES[1] * down), layout="constrained")
    made.suptitle(_plain(picture.title))
    for place, panel in enumerate(picture.panels):
        axes = made.add_subplot(down, across, place + 1)
        DRAWERS[panel.kind](axes, panel)
        title = "" if panel.title == panel.y_label else panel.title  # once is enough
        axes.set(title=_plain(title), xlabel=_plain(panel.x_label), ylabel=_plain(panel.y_label))
    return made


def save(picture: Picture, path: Path, dpi: int = 120) -> None:
    """Draw a picture into a PNG file, whole or not at all. Raises as figure does."""
    made = figure(picture)
    with new_file(path) as file:
        made.savefig(file, format="png", dpi=dpi)


def _lines(axes: Any, panel: Panel) -> None:
    for series in panel.series:
        axes.plot(series.x, series.y, label=_plain(series.name), **_look(series))
    axes.grid(alpha=0.3)
    numbers = [value for series in panel.series for value in series.x]
    if all(value == int(value) for value in numbers if value == value):
        axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(axes, panel)


def _look(series: Series) -> dict[str, Any]:
    """Marks on short lines; marks alone where values are names of classes: long, and few whole numbers."""
    if len(series.x) <= FEW_POINTS:
        return {"marker": "o"}
    values = {value for value in series.y if value == value}
    if len(values) <= MOST_CLASSES and all(value == int(value) for value in values):
        return {"marker": ".", "markersize": 3, "linestyle": ""}
    return {}


def _points(axes: Any, panel: Panel) -> None:
    for series in panel.series:
        look = CENTRES if series.name == CENTRES_NAME else {"s": 9, "alpha": 0.7, "linewidths": 0}
        axes.scatter(series.x, series.y, label=_plain(series.name), **look)
    _legend(axes, panel)


def _bars(axes: Any, panel: Panel) -> None:
    width = 0.8 / max(1, len(panel.series))
    for number, series in enumerate(panel.series):
        places = [k + width * (number - (len(panel.series) - 1) / 2) for k in range(len(series.y))]
        axes.bar(places, series.y, width, label=_plain(series.name))
    axes.set_xticks(range(len(panel.columns)), [_plain(name) for name in panel.columns], rotation=60, ha="right")
    _legend(axes, panel)


def _matrix(axes: Any, panel: Panel) -> None:
    image = axes.imshow(panel.values, cmap="Blues", aspect="auto")
    axes.figure.colorbar(image, ax=axes)
    axes.set_xticks(range(len(panel.columns)), [_plain(name) for name in panel.columns], rotation=60, ha="right")
    axes.set_yticks(range(len(panel.rows)), [_plain(name) for name in panel.rows])
    if len(panel.rows) <= MOST_WRITTEN:
        most = max((value for row in panel.values for value in row), default=0)
        for k, row in enumerate(panel.values):
            for j, value in enumerate(row):
                colour = "white" if value > most / 2 else "black"
                axes.text(j, k, f"{value:g}", ha="center", va="center", color=colour, fontsize=8)


def _legend(axes: Any, panel: Panel) -> None:
    if 1 < len(panel.series) <= MOST_LEGEND:
        axes.legend()


def _plain(text: str) -> str:
    """A text as it is: dollars would begin a formula, and a first underscore hide a line from the legend."""
    return text.replace("$", r"\$").replace("_", " ") if text.startswith("_") else text.replace("$", r"\$")


DRAWERS: dict[str, Callable[[Any, Panel], None]] = {
    "lines": _lines,
    "points": _points,
    "bars": _bars,
    "matrix": _matrix,
}
