"""Cross validation: a booster for each fold, measured on the rows that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.xgboost import training
from wildsage.algorithms.xgboost.library import library
from wildsage.algorithms.xgboost.metrics import classes_of
from wildsage.algorithms.xgboost.rows import Rows, csr, matrix
from wildsage.algorithms.xgboost.training import Part
from wildsage.contract.errors import ClientError
from wildsage.contract.files import new_file
from wildsage.data.batch import SparseRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from wildsage.algorithms.context import TrainingContext
    from wildsage.algorithms.xgboost.hyperparameters import XGBoostHyperparameters
    from wildsage.algorithms.xgboost.training import Fit

PREDICTIONS = "predictions.csv"


@dataclass(frozen=True)
class Folds:
    """What cross validation leaves: a booster a fold, and the mean and spread of each metric."""

    fits: list[Fit]
    means: dict[str, float]
    deviations: dict[str, float]


def split(labels: NDArray[np.float32], folds: int, *, classes: bool, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows that each fold holds out, in order. classes: each fold has its share of each label."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(labels))
    if classes:
        # Dealt out like cards, label after label, so that folds differ by one row of a label at most.
        order = order[np.argsort(labels[order], kind="stable")]
    numbers = np.empty(len(labels), np.int64)
    numbers[order] = np.arange(len(labels)) % folds
    for fold in range(folds):
        yield np.flatnonzero(numbers == fold)


def cross_validate(
    context: TrainingContext[XGBoostHyperparameters], rows: Rows, *, fingerprint: str, begin: bytes | None
) -> Folds:
    """Train a booster for each fold and repeat, each with checkpoints of its own.

    Predictions of held-out rows go to predictions.csv among the output data: label, prediction; of classes label,
    probability and class; means over the repeats.
    """
    asked, report = context.hyperparameters, context.report
    folds, repeats = asked.kfold or 2, asked.num_cv_round
    if folds > len(rows):
        raise ClientError(f"_kfold = {folds} is not allowed: there are {len(rows)} rows")
    if asked.objective.startswith("rank:"):
        raise ClientError(f"_kfold is not allowed with {asked.objective}: rows of a query must stay together")
    classes = asked.objective.startswith(("binary:", "multi:"))
    threads = asked.nthread or context.threads
    report.say(f"{repeats} x {folds}-fold cross validation of {len(rows):,} rows")
    fits: list[Fit] = []
    truth = rows.labels[:, 0]
    predicted = np.zeros((len(rows), repeats))
    chosen = np.zeros((len(rows), repeats), np.int64)
    for repeat in range(repeats):
        for fold, held in enumerate(split(truth, folds, classes=classes, seed=[asked.seed % (1 << 32), repeat])):  # type: ignore[arg-type]
            number = repeat * folds + fold
            kept = np.setdiff1d(np.arange(len(rows)), held, assume_unique=True)
            train_rows, held_rows = rows.take(kept), rows.take(held)
            train = matrix(train_rows, asked, threads)
            parts = [
                Part("train", train, train_rows.labels[:, 0]),
                Part(
                    training.VALIDATION,
                    matrix(held_rows, asked, threads, measured=True, name=training.VALIDATION),
                    held_rows.labels[:, 0],
                ),
            ]
            report.say(f"fold {fold + 1} of {folds}" + (f", repeat {repeat + 1} of {repeats}" if repeats > 1 else ""))
            fit = training.train(
                context, parts, fingerprint=f"{fingerprint} fold {number}",
                folder=context.checkpoints / f"model-{number}", begin=begin,
                tell=lambda _number, _values, line: report.say(line),
                progress=lambda done, before=number: report.progress(  # type: ignore[misc]
                    before * asked.num_round + done, folds * repeats * asked.num_round, unit="rounds"
                ),
            )  # fmt: skip
            fits.append(fit)
            found = _predict(fit.booster.handle, held_rows)
            chosen[held, repeat] = classes_of(found, asked.objective) if classes else 0
            predicted[held, repeat] = found.max(axis=1) if found.ndim == 2 else found
            if context.stop.is_set():
                return _summed(context, fits)
        _tell(context, fits[-folds:])
    if repeats > 1:
        _tell(context, fits)
    columns = [truth.astype(np.float64), predicted.mean(axis=1)]
    if classes:
        columns.append(np.array([np.bincount(row).argmax() for row in chosen], np.float64))
    with new_file(context.output_data / PREDICTIONS) as file:
        np.savetxt(file, np.stack(columns, axis=1), delimiter=",", fmt="%f")
    return _summed(context, fits)


def _predict(handle: Any, rows: Rows) -> NDArray[np.float32]:
    features = rows.features
    data = csr(features) if isinstance(features, SparseRows) else features
    return np.asarray(handle.predict(library().DMatrix(data, missing=np.nan), validate_features=False), np.float32)


def _moments(fits: list[Fit]) -> tuple[dict[str, float], dict[str, float]]:
    values: dict[str, list[float]] = {}
    for fit in fits:
        for name, value in fit.best.items():
            values.setdefault(name, []).append(value)
    means = {name: float(np.mean(found)) for name, found in values.items()}
    return means, {name: float(np.std(found)) for name, found in values.items()}


def _tell(context: TrainingContext[Any], fits: list[Fit]) -> None:
    """The mean of folds, in the form of a round's line."""
    means, deviations = _moments(fits)
    number = max(fit.rounds for fit in fits) - 1
    values = [f"{name.replace(':', '-', 1)}:{value:.6g}" for name, value in means.items()]
    context.report.metrics(means, epoch=number, line=training.PUBLISHED_TAB.join([f"[{number}]", *values]))
    spread = ", ".join(f"{name} {means[name]:.6g} ± {deviation:.2g}" for name, deviation in deviations.items())
    context.report.say(f"mean of {len(fits)} folds and standard deviation: {spread}")


def _summed(context: TrainingContext[Any], fits: list[Fit]) -> Folds:
    return Folds(fits, *_moments(fits))
