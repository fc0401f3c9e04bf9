"""Checkpoints under the service's names: xgboost-checkpoint.<round>, a booster whose attributes say the rest."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from wildsage.algorithms.xgboost import booster_file
from wildsage.contract.errors import ClientError
from wildsage.contract.files import is_beside_name, new_file

if TYPE_CHECKING:
    from pathlib import Path

    from wildsage.algorithms.context import Reporter
    from wildsage.algorithms.xgboost.booster_file import Booster

FILE = "xgboost-checkpoint"
KEPT = 5
SHARE = 0.01  # of the time, at most, goes into checkpoints; most models are written after each round
ATTRIBUTE = "wildsage_checkpoint"
_NAME = re.compile(rf"{FILE}\.(\d+)")


class Checkpoints:
    """Those of one booster in one folder. fingerprint: what it depends on; with another one it is not this job's."""

    def __init__(self, folder: Path, fingerprint: str, report: Reporter) -> None:
        self._folder, self._fingerprint, self._report = folder, fingerprint, report
        self._written_s, self._cost_s = time.perf_counter(), 0.0

    @property
    def is_due(self) -> bool:
        """Whether one more keeps to SHARE."""
        return (time.perf_counter() - self._written_s) * SHARE >= self._cost_s

    def write(self, handle: Any, number: int, facts: dict[str, Any]) -> None:
        """Write the booster after round `number`, whole or not at all, and let go of all but the last KEPT."""
        begun = time.perf_counter()
        handle.set_attr(**{ATTRIBUTE: json.dumps({"fingerprint": self._fingerprint, **facts})})
        raw = handle.save_raw("ubj")
        handle.set_attr(**{ATTRIBUTE: None})
        with new_file(self._folder / f"{FILE}.{number}") as file:
            file.write(raw)
        (self._folder / f"{FILE}.{number - KEPT}").unlink(missing_ok=True)
        if number % KEPT == 0:
            for old in self._found()[:-KEPT]:
                old.unlink(missing_ok=True)
        self._written_s = time.perf_counter()
        self._cost_s = self._written_s - begun

    def resume(self, parameters: dict[str, Any]) -> tuple[Booster, int, dict[str, Any]] | None:
        """The last booster of this job, the number of its round, and its facts; None if there is none.

        One of the service's own, which has no facts, is taken as it is.
        """
        for left in self._folder.glob(f".{FILE}.*"):
            if is_beside_name(left.name):  # its writer was killed
                left.unlink(missing_ok=True)
        for path in reversed(self._found()):
            number = int(path.name.rpartition(".")[2])
            try:
                found = booster_file.read(path, parameters)
                text = found.handle.attr(ATTRIBUTE)
                facts = json.loads(text) if text else {}
                own = isinstance(facts, dict) and facts.get("fingerprint", self._fingerprint) == self._fingerprint
            except (ClientError, ValueError) as error:
                self._report.say(f"the checkpoint cannot be read ({error}): an older one is looked for")
                continue
            if not own:
                self._report.say("the checkpoint is of another job (data or hyperparameters differ): starting anew")
                return None
            found.handle.set_attr(**{ATTRIBUTE: None})
            return found, number, facts
        return None

    def _found(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        paths = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(paths, key=lambda path: int(path.name.rpartition(".")[2]))
