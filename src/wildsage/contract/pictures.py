"""plots.json: what an algorithm would have people look at, as numbers; who draws them needs no algorithm.

A picture is one or more panels side by side. An algorithm makes one by a function of this module, or out of panels, and
hands it to `context.report.picture(…)`; it lies beside summary.json until `wildsage plot` draws it. In the file:
{"pictures": [{"name": "clusters", "title": "…", "panels": [{"kind": "points", "title": "", "x_label": "…", "y_label":
"…", "series": [{"name": "cluster 0", "x": [1.5], "y": [2]}], "rows": [], "columns": [], "values": []}]}]}.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import TypeAdapter, ValidationError

from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import read_json_object, shown, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from wildsage.contract.metrics import MetricRecord

Kind = Literal["lines", "bars", "points", "matrix"]
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
MOST_POINTS = 20_000  # of a series: more make a file larger, and a picture no clearer
MOST_BARS = 40
MOST_CURVES = 12  # panels of one picture
MOST_CELLS = 100  # rows and columns of a matrix
CENTRES_NAME = "centres"  # the series of points that stand for others
HIDDEN_METRICS = ("progress", "throughput")  # that say nothing of what was learnt


@dataclass(frozen=True)
class Series:
    """A line, a row of bars, or a cloud of points. x and y are as long as each other; NaN is left out."""

    name: str
    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Panel:
    """One pair of axes. lines and points: of `series`. bars: the y of a series, one for each of `columns`, upright.

    matrix: `values`, a list for each of `rows`, a value for each of `columns`.
    """

    kind: Kind
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    series: list[Series] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    values: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """name: of its file, small letters, digits and hyphens."""

    name: str
    title: str
    panels: list[Panel]


def explained_variance(shares: Sequence[float]) -> Picture:
    """Shares of the variance by component, the largest first, and their sums."""
    numbers = [float(k + 1) for k in range(len(shares))]
    sums = [math.fsum(shares[: k + 1]) for k in range(len(shares))]
    labels = ("component, the largest first", "share of the variance")
    panels = [
        Panel("lines", "Each component", *labels, series=[Series("share", numbers, [float(v) for v in shares])]),
        Panel("lines", "Up to this component", *labels, series=[Series("sum of shares", numbers, sums)]),
    ]
    return Picture("explained-variance", "Explained variance", panels)


def clusters(points: Mapping[str, tuple[Sequence[float], Sequence[float]]], labels: tuple[str, str]) -> Picture:
    """Points in two dimensions, by the name of their cluster; `labels` are of the two axes."""
    series = [_thinned(Series(name, list(map(float, x)), list(map(float, y)))) for name, (x, y) in points.items()]
    return Picture("clusters", "Clusters", [Panel("points", "", *labels, series=series)])


def importance(shares: Mapping[str, float], meaning: str = "importance") -> Picture:
    """Features by how much they count, the first MOST_BARS of them; `meaning` says what is counted."""
    first = sorted(shares.items(), key=lambda item: -item[1])[:MOST_BARS]
    bars = Series(meaning, [float(k) for k in range(len(first))], [float(value) for _, value in first])
    panel = Panel("bars", "", "feature", meaning, series=[bars], columns=[name for name, _ in first])
    return Picture("feature-importance", "Feature importance", [panel])


def scores(values: Mapping[str, Sequence[float]], title: str = "Anomaly scores", name: str = "scores") -> Picture:
    """Values of rows in their order, each in a panel of its own; of more than MOST_POINTS, the extremes are kept.

    The names of the values are beside their axes.
    """
    panels = [
        Panel(
            "lines", key, "row", key, series=[_thinned(Series(key, [float(k) for k in range(len(each))], list(each)))]
        )
        for key, each in values.items()
    ]
    return Picture(name, title, panels)


def confusion(
    labels: Sequence[str], counts: Sequence[Sequence[float]], title: str = "Confusion", name: str = "confusion"
) -> Picture:
    """How many rows of each label (a row of counts) were answered with which; the first MOST_CELLS labels."""
    names = [str(label) for label in labels[:MOST_CELLS]]
    values = [[float(value) for value in row[:MOST_CELLS]] for row in counts[:MOST_CELLS]]
    panel = Panel("matrix", "", "answer", "label", rows=names, columns=names, values=values)
    return Picture(name, title, [panel])


def learning_curves(records: Iterable[MetricRecord]) -> Picture | None:
    """What a job reported, over its epochs: metrics that differ only in their channel share a panel. None if nothing.

    A metric without an epoch has its place among its own values. Of those with a single value there is no curve.
    """
    found: dict[str, dict[str, Series]] = {}
    for record in records:
        channel, _, metric = record.name.rpartition(":")
        if metric in HIDDEN_METRICS or not math.isfinite(record.value):
            continue
        one = found.setdefault(metric, {}).setdefault(channel or metric, Series(channel or metric, [], []))
        one.x.append(float(len(one.x) + 1 if record.epoch is None else record.epoch))
        one.y.append(record.value)
    curves = {metric: [_thinned(each) for each in parts.values()] for metric, parts in found.items()}
    longer = {metric: parts for metric, parts in curves.items() if any(len(each.x) > 1 for each in parts)}
    panels = [Panel("lines", metric, "epoch", metric, series=parts) for metric, parts in longer.items()]
    return Picture("learning-curves", "Learning curves", panels[:MOST_CURVES]) if panels else None


def check(picture: Picture) -> None:
    """Hold a picture to what can be drawn. Raises ClientError that names the first thing that is wrong."""
    if not NAME.fullmatch(picture.name):
        raise ClientError(f"picture {shown(picture.name)}: a name is of small letters, digits and hyphens")
    if not picture.panels:
        raise ClientError(f"picture {picture.name} has no panels")
    for panel in picture.panels:
        wrong = None
        if panel.kind not in get_args(Kind):
            wrong = f"kind {shown(panel.kind)} is not allowed: {', '.join(get_args(Kind))}"
        elif any(len(each.x) != len(each.y) for each in panel.series):
            wrong = "a series has more of x than of y, or of y than of x"
        elif panel.kind == "bars" and any(len(each.y) != len(panel.columns) for each in panel.series):
            wrong = "a series has not as many values as there are columns"
        elif panel.kind == "matrix" and [len(row) for row in panel.values] != [len(panel.columns)] * len(panel.rows):
            wrong = "the values are not as many as rows times columns"
        if wrong is not None:
            raise ClientError(f"picture {picture.name}: {wrong}")


def write_pictures(path: Path, pictures: Sequence[Picture]) -> None:
    """Write plots.json, whole or not at all. What is not finite becomes null. Raises ClientError as check does."""
    for picture in pictures:
        check(picture)
    write_json(path, {"pictures": [_finite(asdict(picture)) for picture in pictures]})


def read_pictures(path: Path) -> list[Picture]:
    """The pictures of plots.json; none where there is no file. Raises DataError for what is none."""
    try:
        content = read_json_object(path, "pictures")
    except FileNotFoundError:
        return []
    try:
        pictures = TypeAdapter(list[Picture]).validate_python(_with_gaps(content.get("pictures")))
        for picture in pictures:
            check(picture)
    except (ValidationError, ClientError) as error:
        raise DataError(f"not the pictures of a job: {str(error).splitlines()[0]}", file=path) from error
    return pictures


def _thinned(series: Series) -> Series:
    """At most about MOST_POINTS of a series; of each stretch, the lowest and the highest."""
    count = len(series.x)
    if count <= MOST_POINTS:
        return series
    step = -(-2 * count // MOST_POINTS)
    kept: list[int] = []
    for begin in range(0, count, step):
        stretch = range(begin, min(begin + step, count))
        ends = {min(stretch, key=series.y.__getitem__), max(stretch, key=series.y.__getitem__)}
        kept += sorted(ends)
    return Series(series.name, [series.x[k] for k in kept], [series.y[k] for k in kept])


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def _with_gaps(value: Any) -> Any:
    """A null in a list is a number that was not finite."""
    if isinstance(value, dict):
        return {key: _with_gaps(each) for key, each in value.items()}
    return [math.nan if each is None else _with_gaps(each) for each in value] if isinstance(value, list) else value
