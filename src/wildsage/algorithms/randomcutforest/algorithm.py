"""Random cut forest as a training job sees it."""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.checkpoint import fingerprint
from wildsage.algorithms.model_channel import earlier_model, refuse_misfit
from wildsage.algorithms.randomcutforest.hyperparameters import RandomCutForestHyperparameters
from wildsage.algorithms.randomcutforest.model import MOST_FEATURES, RandomCutForestModel
from wildsage.algorithms.randomcutforest.shingles import Shingler
from wildsage.algorithms.row_channel import asked_dim, likely_dim, open_rows
from wildsage.contract import pictures
from wildsage.contract.channels import Distribution, InputMode
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.context import TrainingContext
    from wildsage.algorithms.streaming import Workers
    from wildsage.data.readers import RowStream

BASE_BYTES = 300 << 20  # Python, Numba, the readers' buffers
NODE_BYTES = 40  # of a node beside its box
BATCH_BYTES = 4 << 20
LEAST_BATCH, MOST_BATCH = 64, 4096  # rows
UNKNOWN_DIM = 1000  # taken for features of a pipe that nobody has looked into
SCORES_FILE = "scores.csv"
SHOWN_ROWS = 20_000  # of train, whose scores are drawn
DEVIATIONS = 3  # standard deviations above the mean from which on a row counts as an anomaly


class RandomCutForest(Algorithm[RandomCutForestHyperparameters]):
    """Trees of random cuts over samples of the rows; a row that few cuts set apart is an anomaly."""

    name = "randomcutforest"
    hyperparameters = RandomCutForestHyperparameters
    model = RandomCutForestModel
    optional_channels = ("test", "model")

    def estimate_memory(self, context: TrainingContext[RandomCutForestHyperparameters]) -> MemoryEstimate:
        """The samples, three times while they are saved, and the boxes of the trees."""
        parameters = context.hyperparameters
        dim = (likely_dim(context, label_width=0) or UNKNOWN_DIM) * parameters.shingle_size
        rows = parameters.num_trees * parameters.num_samples_per_tree
        boxes = rows * 2 * (4 * (2 * dim + 16) + NODE_BYTES) * (2 if parameters.stream_scores else 1)
        peak = BASE_BYTES + 3 * rows * 4 * dim + boxes + 4 * BATCH_BYTES * parameters.shingle_size
        return MemoryEstimate(peak, "lower num_trees, num_samples_per_tree or shingle_size")

    def train(self, context: TrainingContext[RandomCutForestHyperparameters]) -> RandomCutForestModel:
        """Sample the rows of channel train, grow the trees, and score channel test if there is one.

        Channel `model` may hold a forest of the same shape, whose samples are gone on with.
        """
        from wildsage.algorithms import streaming
        from wildsage.algorithms.randomcutforest.state import ForestState, ScoreFile

        parameters = context.hyperparameters
        _check_series(context)
        with ExitStack() as stack:
            stream = stack.enter_context(closing(_open(context, "train", 0)))
            dim = streaming.check_dimension(asked_dim(context), stream.feature_dim, "train")
            _check_dim(dim, parameters.shingle_size)
            workers = stack.enter_context(streaming.Workers(context.threads))
            scores = None
            if parameters.stream_scores:
                scores = ScoreFile(context.output_data / SCORES_FILE)
                stack.callback(scores.close)
            state = ForestState(parameters, dim, workers, rank=context.rank, scores=scores)
            marks: list[NDArray[Any]] = []
            earlier = _earlier(context, dim)
            if earlier is not None:
                state.go_on_from(earlier)
                marks = list(state.arrays().values())
                context.report.say(f"going on from a forest that has seen {earlier.seen:,} rows")
            streaming.run(context, stream, state, epochs=1, fingerprint=fingerprint(context, *marks))
            if not state.seen:
                if context.stop.is_set():
                    raise ClientError("training was stopped before a row was read")
                raise ClientError(
                    f"channel train has fewer rows than shingle_size = {parameters.shingle_size}: there is no shingle"
                )
            if scores is not None and not context.stop.is_set():
                scores.finish()
            model = state.finalise(stream.feature_names)
            context.report.summary(
                rows=state.seen,
                feature_dim=dim,
                shingle_size=parameters.shingle_size,
                num_trees=parameters.num_trees,
                samples_per_tree=int(state.forest.filled.max()),
            )
            if state.seen < parameters.num_samples_per_tree:
                context.report.say(
                    f"{state.seen:,} rows are fewer than num_samples_per_tree = {parameters.num_samples_per_tree}: "
                    "each tree has all of them"
                )
            if "test" in context.channels and not context.stop.is_set():
                _evaluate(context, model, workers)
            if context.channels["train"].input_mode is not InputMode.PIPE and not context.stop.is_set():
                _picture_train(context, model, workers)
            return model

    @classmethod
    def warm_up(cls) -> None:
        """Compile every kernel that training and answering need, by going through small jobs and their model."""
        from wildsage.algorithms.rehearsal import rehearse
        from wildsage.contract.content_types import CSV, RECORDIO_PROTOBUF
        from wildsage.data.record import Record, Tensor, encode, frame
        from wildsage.data.warm import warm_up

        warm_up()
        sparse = frame(encode(Record({"values": Tensor(np.ones(1, np.float32), np.ones(1, np.int64), (2,))}))) * 20
        dense = "".join(f"{a:.4f},{b:.4f}\n" for a, b in np.random.default_rng(0).normal(size=(100, 2))).encode()
        for content, kind, streamed in ((sparse, RECORDIO_PROTOBUF, False), (dense, CSV, False), (dense, CSV, True)):
            rehearse(cls, content, kind, num_trees=50, num_samples_per_tree=8, stream_scores=streamed)


def _open(
    context: TrainingContext[RandomCutForestHyperparameters],
    name: str,
    label_width: int,
    feature_dim: int | None = None,
) -> RowStream:
    width = 4 * (feature_dim or asked_dim(context) or 64)
    batch_rows = max(LEAST_BATCH, min(MOST_BATCH, BATCH_BYTES // width))
    return open_rows(context, name, batch_rows=batch_rows, feature_dim=feature_dim, label_width=label_width)


def _check_dim(dim: int, shingle_size: int) -> None:
    if dim * shingle_size > MOST_FEATURES:
        made = f"{dim} features" + (f" x shingle_size = {shingle_size}" if shingle_size > 1 else "")
        raise ClientError(f"channel train: {made} is not allowed: up to {MOST_FEATURES:,} numbers")


def _check_series(context: TrainingContext[RandomCutForestHyperparameters]) -> None:
    replicated = context.channels["train"].distribution is not Distribution.SHARDED_BY_S3_KEY
    if context.hyperparameters.shingle_size > 1 and context.world_size > 1 and replicated:
        raise ClientError(
            "shingle_size above 1 needs rows in their order, and several instances share a replicated channel row by "
            "row: make channel train ShardedByS3Key, a series in each file, or use one instance"
        )


def _earlier(context: TrainingContext[RandomCutForestHyperparameters], dim: int) -> RandomCutForestModel | None:
    """The forest in channel `model`, if there is one. Raises ClientError that names all that does not fit the job."""
    parameters = context.hyperparameters
    model = earlier_model(context, RandomCutForestModel, RandomCutForest.name)
    if model is None:
        return None
    problems = [
        f"it has {what} = {found}, and the job {wanted}"
        for what, found, wanted in (
            ("num_trees", model.forest.count, parameters.num_trees),
            ("num_samples_per_tree", model.forest.samples, parameters.num_samples_per_tree),
            ("shingle_size", model.shingle_size, parameters.shingle_size),
            ("feature_dim", model.feature_dim, dim),
        )
        if found != wanted
    ]
    refuse_misfit(problems)
    return model


def _evaluate(
    context: TrainingContext[RandomCutForestHyperparameters], model: RandomCutForestModel, workers: Workers
) -> None:
    """Report how well the scores of channel test tell its labels."""
    shingler, scores, labels = Shingler(model.shingle_size, model.feature_dim), [], []
    with closing(_open(context, "test", 1, model.feature_dim)) as stream:
        for batch in stream:
            found = batch.labels
            if found is None:
                raise ClientError("channel test has no labels: 1 for an anomaly, 0 for none, in the first column")
            wrong = np.flatnonzero((found != 0) & (found != 1))
            if len(wrong):
                row = int(wrong[0])
                raise batch.error(row, f"label {found[row]:g} is not allowed: 0, or 1 for an anomaly", column=1)
            rows = batch.features if model.shingle_size == 1 else shingler.take(batch.dense())
            scores.append(model.scores(rows, workers))
            labels.append(found.copy())
    if context.stop.is_set():
        return
    # A shingle has the label of the row that it ends with.
    anomalies = np.concatenate(labels)[model.shingle_size - 1 :] == 1
    if not len(anomalies):
        raise ClientError(f"channel test has fewer rows than shingle_size = {model.shingle_size}: there is no shingle")
    figures = quality(np.concatenate(scores), anomalies)
    shown = {"score": np.concatenate(scores).tolist()}
    context.report.picture(pictures.scores(shown, "Anomaly scores of channel test", "test-scores"))
    context.report.summary(test={name: round(value, 6) for name, value in figures.items()})
    wanted = context.hyperparameters.eval_metrics
    if "accuracy" in wanted:
        context.report.metric("test:accuracy", figures["accuracy"])
    if "precision_recall_fscore" in wanted:
        for name in ("precision", "recall", "f1"):
            context.report.metric(f"test:{name}", figures[name])


def _picture_train(
    context: TrainingContext[RandomCutForestHyperparameters], model: RandomCutForestModel, workers: Workers
) -> None:
    """Leave the scores of the first rows of train, in their order, to be looked at."""
    shingler, scores, rows = Shingler(model.shingle_size, model.feature_dim), [], 0
    with closing(iter(_open(context, "train", 0))) as batches:  # type: ignore[type-var]  # a generator
        for batch in batches:
            part = batch if rows + len(batch) <= SHOWN_ROWS else batch.part(0, SHOWN_ROWS - rows)
            rows += len(part)
            taken = part.features if model.shingle_size == 1 else shingler.take(part.dense())
            if len(taken):
                scores.append(model.scores(taken, workers))
            if rows >= SHOWN_ROWS:
                break
    if scores:
        title = "Anomaly scores of channel train"
        title += "" if rows < SHOWN_ROWS else f", the first {SHOWN_ROWS:,} rows"
        context.report.picture(pictures.scores({"score": np.concatenate(scores).tolist()}, title))


def quality(scores: NDArray[np.float64], anomalies: NDArray[np.bool_]) -> dict[str, float]:
    """How well scores above their mean by more than three standard deviations tell anomalies.

    Returns accuracy, precision, recall and f1 (0 where there is nothing to divide by), and what the cut was made of.
    """
    mean, deviation = float(scores.mean()), float(scores.std())
    called = scores > mean + DEVIATIONS * deviation
    hits = int((called & anomalies).sum())
    precision = hits / called.sum() if called.any() else 0.0
    recall = hits / anomalies.sum() if anomalies.any() else 0.0
    return {
        "accuracy": float((called == anomalies).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(2 * precision * recall / (precision + recall)) if hits else 0.0,
        "score_mean": mean,
        "score_deviation": deviation,
    }
