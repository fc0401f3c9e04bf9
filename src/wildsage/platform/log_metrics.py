"""The metrics that a run's log shows, by the regexes of its user.

Such a regex may take longer than anybody waits ("(a+)+$" on a line of many a), and nothing can break off a match in
this process. They run in a process of their own, `python -m wildsage.platform.log_metrics LOG`, with so much processor
time each; one that takes more is left out from then on, and the log says so.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from wildsage.contract.errors import DataError
from wildsage.contract.files import read_json, shown, write_json
from wildsage.contract.metrics import MetricDefinition, MetricRecord, scan
from wildsage.engines.run_folder import LOG

logger = logging.getLogger(__name__)

GIVEN_UP = "metrics-given-up.json"  # names of metrics whose regexes take too long on this run's log
LINE_CHARACTERS = 1 << 14  # what of a line is looked at: even plain regexes take time by the square of its length
BUDGET_S = 2.0  # of processor time, for each regex; and as much more as a long log may take:
BYTES_A_SECOND = 10_000_000
_WAIT_S = 120.0  # by the clock, for each regex: that process may have to wait for a processor


def read(
    folder: Path, definitions: Sequence[MetricDefinition], *, trusted: Collection[MetricDefinition], at: float
) -> list[MetricRecord]:
    """What the log in a run's folder shows of the metrics, each record with the time `at`.

    trusted: definitions whose regexes are known to be quick, the built-ins' own.
    """
    given_up = _given_up(folder)
    known = [each for each in definitions if each in trusted]
    others = [each for each in definitions if each not in trusted and each.name not in given_up]
    try:
        with _opened(folder / LOG) as log:
            records = list(scan(_lines(log), known, clock=lambda: at)) if known else []
    except FileNotFoundError:
        return []
    if others:
        values, slow = _ask(folder / LOG, others)
        records += [MetricRecord(others[number].name, value, at) for number, value in values]
        if slow:
            _give_up(folder, [others[number] for number in slow], given_up)
    return records


def _ask(log: Path, definitions: Sequence[MetricDefinition]) -> tuple[list[tuple[int, float]], list[int]]:
    """(number of the definition, value) each, and the numbers of those that take too long."""
    command = [sys.executable, "-P", "-m", "wildsage.platform.log_metrics", str(log.absolute())]
    asked = json.dumps([[each.name, each.regex] for each in definitions])
    try:
        answer = subprocess.run(
            command, input=asked, capture_output=True, text=True, check=False, timeout=_WAIT_S * len(definitions)
        )
    except subprocess.TimeoutExpired:
        return [], list(range(len(definitions)))
    if answer.returncode != 0:
        logger.warning("The metrics of %s cannot be read: %s", log, answer.stderr.strip() or answer.returncode)
        return [], []
    found = json.loads(answer.stdout)
    return [(number, value) for number, value in found["values"]], found["slow"]


def _given_up(folder: Path) -> list[str]:
    try:
        found = read_json(folder / GIVEN_UP)
    except (FileNotFoundError, NotADirectoryError, DataError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def _give_up(folder: Path, slow: Sequence[MetricDefinition], before: Sequence[str]) -> None:
    with suppress(OSError):  # the folder is gone, or its disk is full: the next one who reads says it again
        write_json(folder / GIVEN_UP, [*before, *(each.name for each in slow)], make_folder=False)
        with (folder / LOG).open("ab") as log:
            for each in slow:
                text = f'metric "{each.name}" is left out: its regex {shown(each.regex)} takes too long on this log'
                log.write(f"{text}\n".encode())


def _opened(log: Path) -> IO[str]:
    return log.open(encoding="utf-8", errors="replace")


def _lines(log: IO[str]) -> Iterator[str]:
    """The lines of a log, the beginnings of those that are very long."""
    while line := log.readline(LINE_CHARACTERS):
        yield line
        while line and not line.endswith("\n"):
            line = log.readline(LINE_CHARACTERS)


class _OverTimeError(Exception):
    """Raised by the timer, in the midst of a match: the interpreter looks for signals there too."""


def _over_time(*_: Any) -> None:
    raise _OverTimeError


def main() -> None:
    """Read definitions from stdin, write what the log shows of them to stdout, as JSON both."""
    log = Path(sys.argv[1])
    definitions = [MetricDefinition(name, regex) for name, regex in json.load(sys.stdin)]
    values: list[tuple[int, float]] = []
    slow = []
    signal.signal(signal.SIGVTALRM, _over_time)
    budget_s = BUDGET_S + log.stat().st_size / BYTES_A_SECOND
    for number, definition in enumerate(definitions):
        try:
            with _opened(log) as lines:
                signal.setitimer(signal.ITIMER_VIRTUAL, budget_s)
                found = [(number, record.value) for record in scan(_lines(lines), [definition])]
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        except _OverTimeError:
            slow.append(number)
        else:
            values += found
    json.dump({"values": values, "slow": slow}, sys.stdout)


if __name__ == "__main__":
    main()
