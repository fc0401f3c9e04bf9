"""XGBoost as a training job sees it."""

from __future__ import annotations

import gzip
import hashlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.checkpoint import fingerprint
from wildsage.algorithms.model_channel import earlier_model, refuse_misfit
from wildsage.algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from wildsage.algorithms.xgboost.library import library, warnings_of_the_library
from wildsage.algorithms.xgboost.model import MODEL_FILE, XGBoostModel
from wildsage.contract.channels import InputMode
from wildsage.contract.errors import ClientError
from wildsage.contract.files import write_json
from wildsage.contract.pictures import importance

if TYPE_CHECKING:
    from wildsage.algorithms.context import TrainingContext
    from wildsage.algorithms.xgboost.rows import Rows
    from wildsage.algorithms.xgboost.training import Fit
    from wildsage.contract.channels import Channel

    Context = TrainingContext[XGBoostHyperparameters]

BASE_BYTES = 300 << 20
SAMPLE = 1 << 16
PACKED = 8  # bytes of text in one of gzip, at most of most
COLUMN_BYTES = 400  # of a column, even one without values: 350 measured, at 1 and 3 million columns
VALUE_BYTES, BIN_BYTES, ENTRY_BYTES = 4, 2, 8
MEMORY_SHARE = 0.6  # of what is there, that rows may take before they are read again instead
LISTED = 100  # features in the summary
IMPORTANCE_FILE = "feature_importance.json"
IMPORTANCES = ("gain", "weight", "cover", "total_gain", "total_cover")
IGNORED = ("nthread", "verbosity", "silent", "save_model_on_termination", "predictor")  # of what a booster depends on


class XGBoost(Algorithm[XGBoostHyperparameters]):
    """Gradient boosted trees: regression, classes, ranks and survival times."""

    name = "xgboost"
    hyperparameters = XGBoostHyperparameters
    model = XGBoostModel
    optional_channels = ("validation", "code", "model")

    def estimate_memory(self, context: Context) -> MemoryEstimate:
        """The peak: values as float32 and their bins, where they must be in memory at once, and a booster's sums."""
        asked = context.hyperparameters
        values, more = (
            _values(context.channels[name]) if name in context.channels else 0 for name in ("train", "validation")
        )
        held = VALUE_BYTES + BIN_BYTES if asked.quantised else VALUE_BYTES + ENTRY_BYTES
        if asked.kfold is not None:
            held += VALUE_BYTES + BIN_BYTES
        elif asked.quantised and _rereads(context, values * VALUE_BYTES):
            held = BIN_BYTES
        peak = BASE_BYTES + values * held + more * (VALUE_BYTES + ENTRY_BYTES)
        advice = "take fewer rows or columns, or tree_method hist, which keeps only bins of the values"
        return MemoryEstimate(peak, advice)

    def train(self, context: Context) -> XGBoostModel:
        """Train, from the checkpoint if there is one. Channel `model` may hold a booster to add rounds to."""
        with warnings_of_the_library(context.report.say):
            return self._train(context)

    def _train(self, context: Context) -> XGBoostModel:
        from wildsage.algorithms.xgboost.folds import cross_validate

        asked, report = context.hyperparameters, context.report
        if context.world_size > 1:
            raise ClientError("xgboost trains on one instance: instance_count = 1, with all its threads or its GPU")
        report.say(f"XGBoost {library().__version__} on {asked.runs_on(context.device)}")
        for note in asked.notes(context.device):
            report.say(note)
        if asked.early_stopping_rounds is not None and "validation" not in context.channels and asked.kfold is None:
            report.say("early_stopping_rounds has no effect without channel validation")
        begin = _earlier(context)
        begun = time.monotonic()
        data = _Data(context, begin is not None)
        fingerprint = _fingerprint(context, data, begin)
        read_s = time.monotonic() - begun
        report.summary(
            train_examples=data.rows, features=data.width, rounds_asked=asked.num_round, objective=asked.objective,
            seconds={"read": round(read_s, 3)},
        )  # fmt: skip
        begun = time.monotonic()
        if asked.kfold is not None:
            folds = cross_validate(context, data.joined(), fingerprint=fingerprint, begin=begin)
            boosters = {f"{MODEL_FILE}-{number}": fit.booster for number, fit in enumerate(folds.fits)}
            report.summary(folds=len(folds.fits), metrics=folds.means, metric_deviations=folds.deviations)
        else:
            fit = _fit(context, data, fingerprint, begin)
            boosters = {MODEL_FILE: fit.booster}
            report.summary(
                rounds_run=fit.rounds, best_round=fit.best_round, stopped_early=fit.stopped_early, metrics=fit.best
            )
        report.summary(seconds={"train": round(time.monotonic() - begun, 3)})
        model = XGBoostModel(boosters)
        _tell_importance(context, model)
        return model

    @classmethod
    def warm_up(cls) -> None:
        """Compile the readers' kernels, and load the library."""
        from wildsage.data.warm import warm_up

        for kind in ("text/csv", "text/libsvm", "application/x-recordio-protobuf"):
            warm_up(kind)
        library()


class _Data:
    """The rows of a job: all in memory, or, where they are too many, in the library's bins alone."""

    def __init__(self, context: Context, goes_on: bool) -> None:
        from wildsage.algorithms.xgboost import rows

        self._context, asked = context, context.hyperparameters
        self._threads = asked.nthread or context.threads
        stream = rows.open_rows(context, "train")
        self._train: Rows | None = None
        self._validation: Rows | None = None
        self._matrix: Any = None
        size = _values(context.channels["train"]) * VALUE_BYTES
        if asked.quantised and asked.kfold is None and not stream.sparse and _rereads(context, size):
            context.report.say("the rows do not fit in memory: they are read several times, and only bins are kept")
            self._matrix, labels = rows.streamed_matrix(stream, asked, self._threads)
            self.labels, self.rows, self.width = labels, len(labels), int(stream.feature_dim or 0)
        else:
            self._train = rows.read_all(stream, asked)
        if "validation" in context.channels:
            dim = None if stream.sparse else stream.feature_dim
            self._validation = rows.read_all(rows.open_rows(context, "validation", feature_dim=dim), asked)
        if self._train is not None:
            # A feature that only validation has is one that no tree asks for.
            if self._validation is not None:
                self._train = self._train.widened(self._validation.width)
            self.labels, self.rows, self.width = self._train.labels, len(self._train), self._train.width
        if self._validation is not None:
            self._validation = self._match(self._validation.widened(self.width))
        self._goes_on = goes_on
        memory = context.memory_bytes
        if stream.sparse and memory is not None and self.width * COLUMN_BYTES > memory:
            # Known only now: sparse files do not say how wide they are.
            raise ClientError(
                f"channel train has {self.width:,} features, which take about {self.width * COLUMN_BYTES / 1e9:.0f} GB "
                f"of memory, and {memory / 1e9:.0f} GB are available: number the features without gaps"
            )

    def _match(self, validation: Rows) -> Rows:
        """Validation rows by the names of training's features, and of their form."""
        from dataclasses import replace

        from wildsage.data.batch import SparseRows

        if validation.width != self.width:
            raise ClientError(f"channel validation has {validation.width} features, and channel train {self.width}")
        train = self._train
        if train is not None and isinstance(train.features, SparseRows) != isinstance(validation.features, SparseRows):
            raise ClientError("of the channels train and validation one is sparse and one is not: their types must fit")
        return replace(validation, names=train.names if train is not None else validation.names)

    def joined(self) -> Rows:
        """The rows of both channels, for cross validation."""
        from wildsage.algorithms.xgboost.rows import Rows
        from wildsage.data.batch import SparseRows

        train, more = self._train, self._validation
        if train is None or more is None:
            if train is None:
                raise ClientError("_kfold needs all rows in memory")
            return train
        if (train.weights is None) != (more.weights is None):
            raise ClientError("of the channels train and validation only one has weights")
        features: Any
        if isinstance(train.features, SparseRows) and isinstance(more.features, SparseRows):
            features = SparseRows.joined([train.features, more.features], self.width)
        else:
            features = np.concatenate([train.features, more.features])
        weights = None
        if train.weights is not None and more.weights is not None:
            weights = np.concatenate([train.weights, more.weights])
        return Rows(features, np.concatenate([train.labels, more.labels]), weights, train.names)

    def parts(self) -> list[Any]:
        """What to train on, and what to measure on; the rows themselves are let go of."""
        from wildsage.algorithms.xgboost import rows
        from wildsage.algorithms.xgboost.training import VALIDATION, Part

        asked = self._context.hyperparameters
        train = self._matrix
        if train is None and self._train is not None:
            train = rows.matrix(self._train, asked, self._threads)
        parts = [Part("train", train, self.labels[:, 0])]
        self._train = None
        if self._validation is not None:
            made = rows.matrix(self._validation, asked, self._threads, measured=True, name=VALIDATION)
            parts.append(Part(VALIDATION, made, self._validation.labels[:, 0]))
            self._validation = None
        return parts


def _fit(context: Context, data: _Data, fingerprint: str, begin: bytes | None) -> Fit:
    from wildsage.algorithms.xgboost import training

    asked, report = context.hyperparameters, context.report
    begun = time.monotonic()
    parts = data.parts()
    report.summary(seconds={"bin": round(time.monotonic() - begun, 3)})
    report.say(f"{data.rows:,} rows of {data.width:,} features")
    return training.train(
        context, parts, fingerprint=fingerprint, folder=context.checkpoints, begin=begin,
        tell=lambda number, values, line: report.metrics(values, epoch=number, line=line),
        progress=lambda done: report.progress(done, asked.num_round, unit="rounds"),
    )  # fmt: skip


def _earlier(context: Context) -> bytes | None:
    """The booster in channel `model`, after a look at whether training can go on from it."""
    asked = context.hyperparameters
    model = earlier_model(context, XGBoostModel, XGBoost.name)
    if model is None:
        if asked.process_type == "update":
            raise ClientError("process_type = update needs a model whose trees it renews, in channel model")
        return None
    if len(model.boosters) > 1:
        raise ClientError(f"channel model: {len(model.boosters)} boosters of a cross validation, and one is wanted")
    booster = next(iter(model.boosters.values()))
    problems = []
    objective = asked.parameters(context.device)["objective"]
    if booster.objective != objective:
        problems.append(f"its objective is {booster.objective}, so objective must be the same, not {objective}")
    if booster.kind != asked.booster:
        problems.append(f"its booster is {booster.kind}, so booster must be the same, not {asked.booster}")
    if asked.num_class is not None and booster.num_class != asked.num_class:
        problems.append(f"it has {booster.num_class} classes, so num_class must be {booster.num_class}")
    if asked.process_type == "update" and asked.num_round > booster.rounds:
        problems.append(f"it has {booster.rounds} rounds, so num_round must be {booster.rounds} or less")
    refuse_misfit(problems)
    context.report.say(f"going on from a model of {booster.rounds:,} rounds")
    return booster.raw


def _fingerprint(context: Context, data: _Data, begin: bytes | None) -> str:
    """What a checkpoint depends on; of a pipe's data the labels, which are read by now."""
    marks = [data.labels] if begin is None else [data.labels, np.frombuffer(begin, np.uint8)]
    told = fingerprint(context, *marks, channels=("train", "validation"), without=IGNORED)
    return hashlib.sha256(told.encode()).hexdigest()


def _tell_importance(context: Context, model: XGBoostModel) -> None:
    """How much each feature did for the model, by name: whole to a file of the output data, the head to the summary."""
    handle = next(iter(model.boosters.values())).handle
    linear = next(iter(model.boosters.values())).kind == "gblinear"
    found: dict[str, dict[str, Any]] = {}
    for kind in ("weight",) if linear else IMPORTANCES:
        scores = handle.get_score(importance_type=kind)
        ranked = sorted(
            scores.items(), key=lambda item: -abs(item[1] if not isinstance(item[1], list) else max(item[1]))
        )
        found[kind] = dict(ranked)
    write_json(context.output_data / IMPORTANCE_FILE, found)
    head = {kind: dict(list(found[kind].items())[:LISTED]) for kind in ("gain", "weight", "cover") if kind in found}
    context.report.summary(feature_importance=head)
    kind = next(iter(found))
    shares = {name: max(value) if isinstance(value, list) else value for name, value in found[kind].items()}
    if shares:
        context.report.picture(importance(shares, kind))


def _rereads(context: Context, size: float) -> bool:
    """Whether rows of so many bytes are read again and again instead of kept; a pipe gives them once."""
    if context.memory_bytes is None or context.channels["train"].input_mode is InputMode.PIPE:
        return False
    return size > MEMORY_SHARE * context.memory_bytes


def _values(channel: Channel) -> int:
    """About how many numbers a channel has, from the sizes of its files and the head of the first."""
    from wildsage.algorithms.xgboost.rows import kind_of
    from wildsage.contract import content_types

    if channel.input_mode is InputMode.PIPE:
        return 0
    files = channel.files()
    total = sum(path.stat().st_size for path in files)
    kind = content_types.parse(kind_of(channel)).name
    if kind in (content_types.RECORDIO_PROTOBUF, content_types.PARQUET):
        return total // VALUE_BYTES
    per_byte, packed = 0.5, 1  # "1," is the shortest
    for path in files[:1]:
        with path.open("rb") as file:
            head = file.read(SAMPLE)
        if head[:2] == b"\x1f\x8b":
            packed = PACKED
            try:
                with gzip.open(path) as unpacked:
                    head = unpacked.read(SAMPLE)
            except (OSError, EOFError):
                continue
        if head:
            separators = sum(head.count(each) for each in (b",", b"\t", b" ", b";", b"|", b"\n"))
            per_byte = min(per_byte, (separators + 1) / len(head))
    return int(total * packed * per_byte)
