"""Linear Learner as a training job sees it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms import streaming
from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.checkpoint import fingerprint
from wildsage.algorithms.clock import Clock
from wildsage.algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from wildsage.algorithms.linear_learner.model import Facts, LinearModel
from wildsage.algorithms.model_channel import earlier_model, refuse_misfit
from wildsage.algorithms.row_channel import asked_dim, likely_dim, open_rows
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from wildsage.algorithms.context import TrainingContext
    from wildsage.algorithms.linear_learner.evaluation import Scored
    from wildsage.data.batch import Batch
    from wildsage.data.readers import RowStream

    Context = TrainingContext[LinearLearnerHyperparameters]
    Start = tuple[NDArray[np.float64], NDArray[np.float64]]

BASE_BYTES = 200 << 20  # Python, NumPy, Numba with its kernels
HELD_BYTES = 64 << 20  # of a validation channel that is kept in memory instead of being read each epoch
BATCH_BYTES = 1 << 23  # of rows handed over at once: threads then meet every few milliseconds
MOST_BATCH_BYTES = 1 << 26  # where num_point_for_scaler asks for more
ARRAYS = 8  # of the size of all models' weights
KERNELS = "wildsage.algorithms.linear_learner.kernels"


class LinearLearner(Algorithm[LinearLearnerHyperparameters]):
    """Linear models for regression and for two or more classes: many are trained side by side, the best is kept."""

    name = "linear-learner"
    hyperparameters = LinearLearnerHyperparameters
    model = LinearModel
    optional_channels = ("validation", "test", "model")

    def estimate_memory(self, context: Context) -> MemoryEstimate:
        """The peak: weights of all models with their moments, batches that are read ahead, held validation rows."""
        from wildsage.algorithms.linear_learner.settings import count_models

        parameters = context.hyperparameters
        d = likely_dim(context) or 1
        models = count_models(parameters, d)
        lanes = 1 if models == 1 and parameters.classes > 1 else -(-models // 16) * 16
        weights = 4 * ARRAYS * (d + 1) * parameters.classes * lanes
        scores = 4 * max(parameters.mini_batch_size, 512) * parameters.classes * lanes
        rows = 4 * 4 * d * _batch_rows(parameters, d)
        return MemoryEstimate(
            BASE_BYTES + weights + scores + rows + 2 * HELD_BYTES,
            f"lower num_models (now {models}), mini_batch_size or num_point_for_scaler",
        )

    def train(self, context: Context) -> LinearModel:
        """Train, from the checkpoint if there is one, beginning with the model in channel `model` if there is one."""
        with streaming.Workers(context.threads) as workers:
            return _Job(context, workers).run()

    @classmethod
    def warm_up(cls) -> None:
        """Compile every kernel that training and answering need, by going through small jobs and their models."""
        from wildsage.algorithms.rehearsal import rehearse
        from wildsage.contract.content_types import CSV, LIBSVM
        from wildsage.data.warm import warm_up

        warm_up()
        jobs: list[tuple[int, dict[str, Any]]] = [
            (3, {"predictor_type": "multiclass_classifier", "num_classes": 3, "num_models": 1}),
            (3, {"predictor_type": "multiclass_classifier", "num_classes": 3}),
            (3, {"predictor_type": "regressor"}),
            (2, {"predictor_type": "binary_classifier", "binary_classifier_model_selection_criteria": "f_beta"}),
        ]
        for kind, line in ((CSV, "{},{},{}\n"), (LIBSVM, "{} 0:{} 1:{}\n")):
            for labels, values in jobs:
                content = "".join(line.format(k % labels, k % 5, k % 7) for k in range(30)).encode()
                rehearse(cls, content, kind, epochs=1, feature_dim=2, **values)


class _Job:
    """One training job."""

    def __init__(self, context: Context, workers: streaming.Workers) -> None:
        self.context, self.workers, self.clock = context, workers, Clock()
        self.parameters, self.report = context.hyperparameters, context.report

    def run(self) -> LinearModel:
        from wildsage.algorithms.linear_learner.state import LinearState

        context, parameters, report = self.context, self.parameters, self.report
        for note in parameters.notes():
            report.say(note)
        stream = _open(context, "train")
        with closing(stream):
            d = streaming.check_dimension(asked_dim(context), stream.feature_dim, "train")
            stream.batch_rows = _batch_rows(parameters, d)
            if stream.label_width != 1:
                raise ClientError(f"channel train has {stream.label_width} labels a row, and one is wanted")
            self.names = stream.feature_names
            self.validation = Held(context, d) if "validation" in context.channels else None
            start = self._start(d)
            mark = fingerprint(context, *(start or ()), channels=("train", "validation"))
            self.state = LinearState(parameters, d, self.workers, keeps_sample=self.validation is None, start=start)
            self.state.judge = self._judge
            state = self.state
            report.say(
                f"{d:,} features; training {state.models} model{'s' if state.models > 1 else ''} side by side with "
                f"{parameters.loss_function}"
            )
            with self.clock.phase("train"):
                seen = streaming.run(
                    context, stream, state, epochs=parameters.epochs, fingerprint=mark,
                    after_epoch=self._end_epoch,
                )  # fmt: skip
        model = self._finish(stopped=seen.stopped)
        report.summary(
            epochs_run=seen.epochs,
            epochs_asked=parameters.epochs,
            stopped_early=seen.ended and seen.epochs < parameters.epochs,
            train_examples=stream.rows,
            feature_dim=d,
            models=state.models,
            best_model=self._settings(),
            best_epoch=int(state.best_epochs[state.chosen]),
            rows_seen=seen.total_rows,
            threads=context.threads,
            seconds=self.clock.rounded(),
        )
        return model

    def _settings(self) -> dict[str, float]:
        chosen = self.state.settings[self.state.chosen]
        return {"learning_rate": chosen.rate, "wd": chosen.wd, "l1": chosen.l1}

    def _start(self, d: int) -> Start | None:
        """Weights of the model in channel `model`."""
        model = earlier_model(self.context, LinearModel, LinearLearner.name)
        if model is None:
            return None
        problems = []
        if model.feature_dim != d:
            problems.append(f"it has {model.feature_dim} features, and channel train {d}")
        if model.facts.predictor_type != self.parameters.predictor_type:
            problems.append(f"it is a {model.facts.predictor_type}, not a {self.parameters.predictor_type}")
        elif len(model.biases) != self.parameters.classes:
            problems.append(f"it has {len(model.biases)} classes, and num_classes = {self.parameters.classes}")
        refuse_misfit(problems)
        self.report.say(f"going on from a model of {d:,} features")
        return model.weights, model.biases

    # Epochs

    def _end_epoch(self, epoch: int) -> bool:
        self.state.end_epoch()
        self.state.set("pending", 1)
        self._judge()
        return not self.state.get("pending") and self.state.has_stalled()

    def _judge(self) -> None:
        """Judge all models at an epoch's end, if a stop does not come between; then the next job does it first."""
        state, validation = self.state, self.validation
        epoch = int(state.get("epochs"))
        with self.clock.phase("validate"):
            batches: Iterable[Batch]
            if validation is not None:
                batches = validation
            else:
                batches = [state.sample] if state.sample is not None else []
            losses, keys = state.assess(batches)
        if validation is not None and validation.was_cut:
            return
        if not np.isfinite(losses).any():
            raise ClientError(
                f"training has diverged in epoch {epoch}: lower learning_rate, or leave it at auto; or scale the "
                "features with normalize_data = true"
            )
        state.note(keys, epoch)
        state.set("pending", 0)
        chosen = int(np.argmin(keys))
        self.report.metric("train:objective_loss", state.train_loss(chosen), epoch=epoch)
        if validation is not None:
            self.report.metric("validation:objective_loss", float(losses[chosen]), epoch=epoch)

    # The end

    def _finish(self, *, stopped: bool) -> LinearModel:
        """The model that was judged best, with its threshold; metrics, unless the job was told to stop."""
        state, parameters = self.state, self.parameters
        if not np.isfinite(state.keys).any():  # stopped before the end of the first epoch
            state.note(np.arange(state.models, dtype=np.float64), 0)
        weights, biases = state.weights_of(state.chosen)
        facts = Facts(parameters.predictor_type, parameters.loss_function, feature_names=self.names)
        model = LinearModel(weights, biases, facts)
        if not np.isfinite(weights).all() or not np.isfinite(biases).all():
            raise ClientError("training has diverged: lower learning_rate, or leave it at auto")
        held = self.validation if self.validation is not None else [state.sample] if state.sample is not None else []
        if stopped:
            held = held if isinstance(held, list) or held.is_held else []
        with self.clock.phase("score"):
            if parameters.is_binary:
                model.facts = Facts(
                    facts.predictor_type, facts.loss, self._threshold(model, held), feature_names=self.names
                )
            if stopped:
                return model
            channel = "train" if self.validation is None else "validation"
            found = self._score(model, held).metrics()
            if self.validation is None:
                if "objective_loss" in found:
                    self.report.metric("train:objective_loss:final", found["objective_loss"])
                self.report.summary(train_metrics=found)
            else:
                self._tell(channel, found)
            if "test" in self.context.channels:
                with closing(_open(self.context, "test", feature_dim=state.d)) as stream:
                    self._tell("test", self._score(model, stream).metrics())
        return model

    def _tell(self, channel: str, found: dict[str, float]) -> None:
        for name, value in found.items():
            final = ":final" if channel == "validation" and name == "objective_loss" else ""
            self.report.metric(f"{channel}:{name}{final}", value)
        self.report.summary(**{f"{channel}_metrics": found})

    def _threshold(self, model: LinearModel, batches: Iterable[Batch]) -> float:
        from wildsage.algorithms.linear_learner.evaluation import MOST_AUC_ROWS, Cuts, choose_cut

        asked = self.parameters.num_calibration_samples
        most = MOST_AUC_ROWS if asked == "auto" else asked
        scores: list[Any] = []
        labels: list[Any] = []
        weights: list[Any] = []
        rows = 0
        for batch in batches:
            assert batch.labels is not None
            part = batch.part(0, min(len(batch), most - rows))
            scores.append(model.scores(part)[:, 0])
            labels.append(batch.labels[: len(part)].astype(np.float64))
            if batch.weights is not None:
                weights.append(batch.weights[: len(part)].astype(np.float64))
            rows += len(part)
            if rows >= most:
                break
        if not rows:
            return 0.0
        cuts = Cuts.of(np.concatenate(scores), np.concatenate(labels), np.concatenate(weights) if weights else None)
        return choose_cut(self.parameters, cuts)[0]

    def _score(self, model: LinearModel, batches: Iterable[Batch]) -> Scored:
        from wildsage.algorithms.linear_learner.evaluation import Scored

        state = self.state
        scored = Scored(
            self.parameters,
            model.facts.threshold,
            state.scales.label_mean,
            state.scales.label_scale,
            state.class_weights(),
        )
        for batch in batches:
            labels = state.check(batch).astype(np.float64)
            scored.add(model.scores(batch), labels, None if batch.weights is None else batch.weights.astype(np.float64))
        return scored


class Held:
    """The rows of channel validation: kept in memory where they are few, else read each time.

    is_held: whether they are kept. was_cut: whether a stop ended the latest reading before its end.
    """

    def __init__(self, context: Context, d: int) -> None:
        self._context, self._d = context, d
        self._kept: list[Batch] | None = []
        self.was_cut = False
        size, stream = 0, _open(context, "validation", feature_dim=d)
        with closing(stream):
            for batch in stream:
                kept = batch.copy()
                size += sum(array.nbytes for array in _arrays(kept))
                if size > HELD_BYTES:
                    self._kept = None
                    break
                assert self._kept is not None
                self._kept.append(kept)
        if context.stop.is_set():
            self.was_cut = True

    @property
    def is_held(self) -> bool:
        return self._kept is not None

    def __iter__(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        with closing(_open(self._context, "validation", feature_dim=self._d)) as stream:
            yield from stream
        self.was_cut = self._context.stop.is_set()


def _arrays(batch: Batch) -> list[NDArray[Any]]:
    from wildsage.data.batch import SparseRows

    features = batch.features
    made: list[NDArray[Any]] = [features.values, features.columns] if isinstance(features, SparseRows) else [features]
    return made + [array for array in (batch.labels, batch.weights) if array is not None]


def _batch_rows(parameters: LinearLearnerHyperparameters, d: int) -> int:
    """Rows handed over at once: those that scales come from, in whole updates, as far as memory allows."""
    size = parameters.mini_batch_size
    wanted = max(min(parameters.num_point_for_scaler, MOST_BATCH_BYTES // (4 * d)), BATCH_BYTES // (4 * d), size)
    return wanted // size * size


def _open(context: Context, name: str, *, feature_dim: int | None = None) -> RowStream:
    return open_rows(
        context, name, batch_rows=max(1000, context.hyperparameters.mini_batch_size), feature_dim=feature_dim
    )
