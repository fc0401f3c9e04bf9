"""The reporter of a job: metric lines, metrics.jsonl, progress.json, summary.json."""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wildsage.contract.files import write_json
from wildsage.contract.metrics import MetricRecord, MetricWriter, published_line
from wildsage.contract.pictures import write_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wildsage.contract.builtins import BuiltIn
    from wildsage.contract.layout import Layout
    from wildsage.contract.pictures import Picture

log = logging.getLogger(__name__)

PROGRESS_INTERVAL_S = 1.0


@dataclass
class _Phase:
    """A stretch of progress of one unit. The rate counts from its first report: a resumed job starts in its middle."""

    unit: str
    total: float
    first_done: float
    started_s: float
    last_done: float = -1.0
    logged_s: float = -math.inf
    written_s: float = -math.inf


class JobReporter:
    """Where an algorithm says how it is doing; see algorithms.context.Reporter. Any thread may call it.

    A value that is not finite is shown on the log as nan or inf, and stands in JSON as null.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        table: BuiltIn | None = None,
        host: str = "algo-1",
        clock: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.monotonic,
    ) -> None:
        """table: the built-in's facts, for the form of its metric lines; None for an algorithm of a third party."""
        self._layout, self._table, self._host = layout, table, host
        self._clock, self._stopwatch = clock, stopwatch
        self._lock = threading.Lock()
        self._metrics = MetricWriter(layout.metrics)
        self._summary: dict[str, Any] = {}
        self._pictures: dict[str, Picture] = {}
        self._phase: _Phase | None = None

    def metric(self, name: str, value: float, *, epoch: int | None = None) -> None:
        """Report a metric: on the log in the published form, and in metrics.jsonl."""
        number = float(value)
        fact = self._table.metric(name) if self._table is not None else None
        template = fact.line if fact is not None else None
        log.info("%s", published_line(name, number, template=template, host=self._host, epoch=epoch))
        self._metrics.write(MetricRecord(name, number, self._clock(), None if epoch is None else int(epoch)))

    def metrics(self, values: Mapping[str, float], *, epoch: int, line: str) -> None:
        """Report several metrics of an epoch: as one line on the log, and in metrics.jsonl."""
        log.info("%s", line)
        now = self._clock()
        self._metrics.write(*(MetricRecord(name, float(value), now, epoch) for name, value in values.items()))

    def progress(self, done: float, total: float, *, unit: str, **figures: float) -> None:
        """Report progress: to progress.json once a second, to the log ever more rarely, and both at the end.

        On the log, the pause grows to a twentieth of the time so far, so that a job of hours leaves some hundred lines.
        """
        with self._lock:
            now = self._stopwatch()
            phase = self._phase
            if phase is None or (phase.unit, phase.total) != (unit, total) or done < phase.last_done:
                phase = self._phase = _Phase(unit, total, done, now)
            ended = done >= total and phase.last_done < total
            phase.last_done = done
            if ended or now - phase.written_s >= PROGRESS_INTERVAL_S:
                phase.written_s = now
                record = {"done": done, "total": total, "unit": unit, "figures": figures, "timestamp": self._clock()}
                write_json(self._layout.progress, plain(record))
            pause = max(PROGRESS_INTERVAL_S, (now - phase.started_s) / 20)
            if phase.logged_s == -math.inf and not ended:
                # Nothing is known yet at the first report; the second comes with a rate.
                phase.logged_s = now
            elif ended or now - phase.logged_s >= pause:
                phase.logged_s = now
                log.info("%s", _progress_line(phase, done, now, figures))

    def say(self, text: str) -> None:
        """One line for the user."""
        log.info("%s", text)

    def summary(self, **facts: Any) -> None:
        """Add facts to summary.json; of two objects under one name the entries are joined."""
        with self._lock:
            for name, value in plain(facts).items():
                known = self._summary.get(name)
                if isinstance(known, dict) and isinstance(value, dict):
                    known.update(value)
                else:
                    self._summary[name] = value
            write_json(self._layout.summary, self._summary)

    def picture(self, picture: Picture) -> None:
        """Put a picture into plots.json, in place of one of the same name."""
        with self._lock:
            write_pictures(self._layout.pictures, [*{**self._pictures, picture.name: picture}.values()])
            self._pictures[picture.name] = picture

    def close(self) -> None:
        self._metrics.close()


def plain(value: Any) -> Any:
    """A value as strict JSON can hold it: NumPy's scalars and arrays as numbers and lists, NaN and infinity as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return str(value)


def count(value: float) -> str:
    """A large number as people say it: 1.23 million, 12,345."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.2f} {word}"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """A time as people say it: 0.42 s, 31 s, 2 min 5 s, 3 h 20 min."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count_of_bytes: float) -> str:
    """Bytes as people say them: 512 bytes, 1.2 kB, 34 MB, 5.6 GB (powers of 1000)."""
    for power, word in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count_of_bytes >= power:
            scaled = count_of_bytes / power
            return f"{scaled:.0f} {word}" if scaled >= 99.5 else f"{scaled:.2g} {word}"
    return f"{count_of_bytes:.0f} bytes"


def _progress_line(phase: _Phase, done: float, now: float, figures: dict[str, float]) -> str:
    share = 100 * done / phase.total if phase.total > 0 else 100.0
    parts = [f"{count(done)} of {count(phase.total)} {phase.unit}", f"{share:.0f} %"]
    seconds = now - phase.started_s
    # An algorithm may know its rate and the time left better than we can tell from outside.
    others, rate_name = dict(figures), re.sub(r"\W", "_", phase.unit) + "_per_second"
    rate, left = others.pop(rate_name, None), others.pop("seconds_left", None)
    if rate is None and seconds > 0 and done > phase.first_done:
        rate = (done - phase.first_done) / seconds
    if rate is not None:
        parts.append(f"{count(rate)} {phase.unit}/s")
        if left is None and rate > 0:
            left = (phase.total - done) / rate
    if left is not None and done < phase.total:
        parts.append(f"{duration(left)} left")
    parts += [f"{name.replace('_', ' ')} {_figure(value)}" for name, value in others.items()]
    return ", ".join(parts)


def _figure(value: float) -> str:
    return count(value) if 10_000 <= abs(value) < math.inf else f"{value:.4g}"
