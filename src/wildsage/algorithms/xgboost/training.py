"""The rounds of a booster: evaluated, watched for the best, and kept as checkpoints."""

from __future__ import annotations

import base64
import math
import re
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wildsage.algorithms.xgboost import booster_file
from wildsage.algorithms.xgboost.checkpoints import Checkpoints
from wildsage.algorithms.xgboost.hyperparameters import OURS, XGBoostHyperparameters, is_maximised
from wildsage.algorithms.xgboost.library import errors_of_the_library, library, quick_round
from wildsage.algorithms.xgboost.metrics import evaluator

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from wildsage.algorithms.context import TrainingContext

PUBLISHED_TAB = "#011"  # how the service's log shows a tab, and what its regexes look for
VALIDATION = "validation"
TELL_S = 0.1  # between two reports of rounds, at least
_VALUE = re.compile(r"\t([^\t:]+(?:@[^\t:]+)?):([^\t]+)")


@dataclass(frozen=True)
class Part:
    """Data that a booster is measured on. labels: float32 (n,)."""

    name: str  # train or validation
    matrix: Any
    labels: NDArray[np.float32]


@dataclass(frozen=True)
class Best:
    """The best round so far, by the metric that early stopping looks at."""

    number: int = -1
    score: float = math.nan
    model: bytes | None = None  # of a booster that cannot be cut back to its first rounds

    def facts(self) -> dict[str, Any]:
        score = self.score if math.isfinite(self.score) else None
        model = None if self.model is None else base64.b85encode(self.model).decode()
        return {"best_round": self.number, "best_score": score, "best_model": model}

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Best:
        score, model = facts.get("best_score"), facts.get("best_model")
        return cls(
            int(facts.get("best_round", -1)),
            math.nan if score is None else float(score),
            None if model is None else base64.b85decode(model),
        )


@dataclass(frozen=True)
class Fit:
    """A trained booster, and how it came about. last and best: metrics by name, of those rounds."""

    booster: booster_file.Booster
    rounds: int  # run, of this job
    best_round: int | None
    stopped_early: bool
    last: dict[str, float]
    best: dict[str, float]


def train(
    context: TrainingContext[XGBoostHyperparameters],
    parts: Sequence[Part],
    *,
    fingerprint: str,
    folder: Path,
    begin: bytes | None = None,
    tell: Callable[[int, dict[str, float], str], None],
    progress: Callable[[int], None],
) -> Fit:
    """Train on the first part and measure on all, from the checkpoint if there is one, else from model `begin`.

    tell: called with each round's number, metrics and line. On context.stop a checkpoint is written, and the booster is
    what it is by then. Raises ClientError for parameters that the library refuses.
    """
    asked = context.hyperparameters
    with library().config_context(verbosity=0 if asked.silent else asked.verbosity):
        return _Rounds(context, parts, fingerprint, folder).run(begin, tell, progress)


class _Telling:
    """Tells of rounds as they are done, but of quick ones several at once: alone, one of a millisecond takes 10 % more.

    What the library does between two reports drives them out of the processor's caches.
    """

    def __init__(self, tell: Callable[[int, dict[str, float], str], None], progress: Callable[[int], None]) -> None:
        self._tell, self._progress = tell, progress
        self._waiting: list[tuple[int, dict[str, float], str]] = []
        self._told_s = -math.inf

    def add(self, number: int, values: dict[str, float], line: str) -> None:
        self._waiting.append((number, values, line))
        if time.perf_counter() - self._told_s >= TELL_S:
            self.close()

    def close(self) -> None:
        """Tell of what waits."""
        waiting, self._waiting = self._waiting, []
        for number, values, line in waiting:
            self._tell(number, values, line.replace("\t", PUBLISHED_TAB))
        if waiting:
            self._progress(waiting[-1][0] + 1)
        self._told_s = time.perf_counter()


class _Rounds:
    """One booster's rounds."""

    def __init__(
        self, context: TrainingContext[XGBoostHyperparameters], parts: Sequence[Part], fingerprint: str, folder: Path
    ) -> None:
        self._context, self._parts = context, parts
        self._asked = context.hyperparameters
        self._parameters = self._asked.parameters(context.device)
        self._parameters["nthread"] = self._asked.nthread or context.threads
        self._checkpoints = Checkpoints(folder, fingerprint, context.report)
        self._keeps = self._asked.process_type == "default"  # trees under renewal are no booster to go on from
        self._sliced = self._asked.booster != "gblinear"
        self._watched: str | None = None  # the metric that early stopping looks at
        labels = {id(part.matrix): part.labels for part in parts}
        ours = [name for name in self._asked.metrics() if name in OURS]
        self._evaluate = evaluator(ours, self._parameters["objective"], lambda data: labels[id(data)]) if ours else None

    def run(
        self,
        begin: bytes | None,
        tell: Callable[[int, dict[str, float], str], None],
        progress: Callable[[int], None],
    ) -> Fit:
        context, asked = self._context, self._asked
        train, evals = self._parts[0].matrix, [(part.matrix, part.name) for part in self._parts]
        patience = asked.early_stopping_rounds if self._parts[-1].name == VALIDATION else None
        with errors_of_the_library("training"):
            handle, first, earlier, facts = self._begun(begin)
        best, stopped_early = Best.of_facts(facts), bool(facts.get("stopped_early", False))
        last, best_values = dict(facts.get("last", {})), dict(facts.get("best_values", {}))
        done, telling = first, _Telling(tell, progress)
        with errors_of_the_library("training"), closing(telling):
            step = None
            for number in range(first, 0 if stopped_early else asked.num_round):
                if step is None or self._evaluate is not None:
                    handle.update(train, number)
                    line = handle.eval_set(evals, number, self._evaluate, output_margin=False)
                    step = quick_round(handle, train, evals)
                else:
                    line = step(number)
                last = {name.replace("-", ":", 1): float(value) for name, value in _VALUE.findall(line)}
                telling.add(number, last, line)
                done = number + 1
                if patience is not None:
                    best = self._better(best, number, last, handle)
                    if best.number == number:
                        best_values = last
                    stopped_early = number - best.number >= patience
                ends = context.stop.is_set() or stopped_early or done == asked.num_round
                # The end of the rounds is no checkpoint but a model, except of a fold, which others follow.
                keeps = self._keeps and (context.stop.is_set() or (ends and asked.kfold is not None))
                if keeps or (self._keeps and self._checkpoints.is_due):
                    # First, so that no round of a checkpoint is one that was never told of.
                    telling.close()
                    facts = {"stopped_early": stopped_early, "last": _plain(last), "best_values": _plain(best_values)}
                    self._checkpoints.write(handle, number, facts | best.facts())
                if ends:
                    break
        kept = patience is not None and best.number >= 0
        with errors_of_the_library("training"):
            if kept:
                handle = self._cut(handle, best, earlier)
            booster = booster_file.of_training(
                handle, asked.num_class or 0, self._parameters["objective"], asked.booster
            )
        return Fit(booster, done, best.number if kept else None, stopped_early, last, best_values or last)

    def _begun(self, begin: bytes | None) -> tuple[Any, int, int, dict[str, Any]]:
        """A booster to go on with, its next round, rounds of the model that training began with, checkpoint's facts."""
        asked = self._asked
        resumed = self._checkpoints.resume(self._parameters) if self._keeps else None
        if resumed is None:
            handle = library().Booster(self._parameters, [part.matrix for part in self._parts])
            if begin is not None:
                handle.load_model(bytearray(begin))
                handle.set_param(self._parameters)
            earlier = handle.num_boosted_rounds() if begin is not None and self._sliced else 0
            return handle, 0, earlier, {}
        booster, number, facts = resumed
        handle, first = booster.handle, number + 1
        self._context.report.say(f"going on from the checkpoint: {first:,} of {asked.num_round:,} rounds are done")
        if asked.draws:
            # The library's random numbers begin anew: with the same seed they would be drawn a second time.
            handle.set_param({"seed": asked.seed + first})
        return handle, first, handle.num_boosted_rounds() - first if self._sliced else 0, facts

    def _better(self, best: Best, number: int, values: Mapping[str, float], handle: Any) -> Best:
        """The best round with this one taken into account."""
        if self._watched is None:
            asked = self._asked.metrics()
            names = [name for name in values if name.startswith(f"{VALIDATION}:")]
            # The objective's own metric where none was asked for.
            self._watched = f"{VALIDATION}:{asked[-1]}" if asked else names[-1]
            if self._watched not in values:
                # The library writes error@0.50 as error@0.5.
                alike = [name for name in names if name.partition("@")[0] == self._watched.partition("@")[0]]
                self._watched = (alike or names)[-1]
        score = values[self._watched]
        more = is_maximised(self._watched.partition(":")[2])
        if best.number < 0 or math.isnan(best.score) or (score > best.score if more else score < best.score):
            return Best(number, score, None if self._sliced else booster_file.save(handle))
        return best

    def _cut(self, handle: Any, best: Best, earlier: int) -> Any:
        """The booster as it was after its best round. earlier: rounds of the model that training began with."""
        if best.model is not None:
            handle.load_model(bytearray(best.model))
        elif self._keeps and handle.num_boosted_rounds() > earlier + best.number + 1:
            handle = handle[: earlier + best.number + 1]
        # The library's own names for them.
        handle.set_attr(best_iteration=str(earlier + best.number), best_score=str(best.score))
        return handle


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value for name, value in values.items() if math.isfinite(value)}
