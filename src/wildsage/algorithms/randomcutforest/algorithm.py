"""Random cut forest as a training job sees it."""

from __future__ import annotations

import io
import json
import tempfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.model_channel import model_folder
from wildsage.algorithms.randomcutforest.hyperparameters import RandomCutForestHyperparameters
from wildsage.algorithms.randomcutforest.model import MOST_FEATURES, RandomCutForestModel
from wildsage.contract import pictures
from wildsage.contract.channels import Distribution, InputMode
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    import numpy as np
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
        dim = _feature_dim(context) * parameters.shingle_size
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
            stream = _open(context, "train", 0)
            dim = streaming.check_dimension(_asked_dim(parameters), stream.feature_dim, "train")
            _check_dim(dim, parameters.shingle_size)
            workers = stack.enter_context(streaming.Workers(context.threads))
            scores = None
            if parameters.stream_scores:
                scores = ScoreFile(context.output_data / SCORES_FILE)
                stack.callback(scores.close)
            state = ForestState(parameters, dim, workers, rank=context.rank, scores=scores)
            mark = 0
            if "model" in context.channels:
                earlier = _earlier(context, dim)
                state.go_on_from(earlier)
                mark = zlib.crc32(earlier.forest.keys.tobytes(), earlier.seen & 0xFFFFFFFF)
                context.report.say(f"going on from a forest that has seen {earlier.seen:,} rows")
            fingerprint = json.dumps([parameters.model_dump(mode="json"), dim, mark, _files(context), context.rank])
            streaming.run(context, stream, state, epochs=1, fingerprint=fingerprint)
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
        import numpy as np

        from wildsage.algorithms.context import Silence, TrainingContext
        from wildsage.contract.channels import Channel
        from wildsage.contract.content_types import RECORDIO_PROTOBUF
        from wildsage.data.readers import read_body
        from wildsage.data.record import Record, Tensor, encode, frame
        from wildsage.data.warm import warm_up

        warm_up()
        sparse = frame(encode(Record({"values": Tensor(np.ones(1, np.float32), np.ones(1, np.int64), (2,))})))
        numbers = io.StringIO()
        np.savetxt(numbers, np.random.default_rng(0).normal(size=(100, 2)), "%.4f", ",")
        with tempfile.TemporaryDirectory() as folder:
            base = Path(folder)
            for name, content in (("sparse", sparse * 20), ("dense", numbers.getvalue().encode())):
                (base / name).mkdir()
                (base / name / "rows").write_bytes(content)
            for name, kind, streamed in (
                ("sparse", RECORDIO_PROTOBUF, "false"),
                ("dense", "text/csv", "false"),
                ("dense", "text/csv", "true"),
            ):
                parameters = RandomCutForestHyperparameters.parse(
                    {"num_trees": 50, "num_samples_per_tree": 8, "stream_scores": streamed}
                )
                context: TrainingContext[Any] = TrainingContext(
                    parameters,
                    {"train": Channel("train", base / name, kind)},
                    base,
                    base / f"checkpoints-{name}-{streamed}",
                    Silence(),
                )
                model = cls().train(context)
            model.save(base)
            loaded = RandomCutForestModel.load(base)
            loaded.warm_up()
            loaded.answer(read_body(b"1,2\n", "text/csv"), {})


def _asked_dim(parameters: RandomCutForestHyperparameters) -> int | None:
    return None if parameters.feature_dim == "auto" else parameters.feature_dim


def _open(context: TrainingContext[RandomCutForestHyperparameters], name: str, label_width: int) -> RowStream:
    from wildsage.data.readers import open_channel

    parameters = context.hyperparameters
    asked = _asked_dim(parameters)
    width = 4 * (asked or 64)
    return open_channel(
        context.channels[name],
        batch_rows=max(LEAST_BATCH, min(MOST_BATCH, BATCH_BYTES // width)),
        feature_dim=asked,
        label_width=label_width,
        threads=context.threads,
        rank=context.rank,
        world_size=context.world_size,
        stop=context.stop,
    )


def _feature_dim(context: TrainingContext[RandomCutForestHyperparameters]) -> int:
    """Features of a row, as well as can be told without opening a pipe."""
    asked = _asked_dim(context.hyperparameters)
    if asked is not None:
        return asked
    if context.channels["train"].input_mode is InputMode.PIPE:
        return UNKNOWN_DIM
    stream = _open(context, "train", 0)
    stream.close()
    return stream.feature_dim or UNKNOWN_DIM


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


def _files(context: TrainingContext[RandomCutForestHyperparameters]) -> list[tuple[str, int]]:
    """What of the data is told by names and sizes."""
    return [(file.name, file.stat().st_size) for file in context.channels["train"].files()]


def _earlier(context: TrainingContext[RandomCutForestHyperparameters], dim: int) -> RandomCutForestModel:
    """The forest in channel `model`. Raises ClientError that names all that does not fit the job."""
    parameters = context.hyperparameters
    with model_folder(context.channels["model"], RandomCutForestModel, RandomCutForest.name) as folder:
        model = RandomCutForestModel.load(folder)
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
    if problems:
        raise ClientError(f"channel model: {'; '.join(problems)}")
    return model


def _evaluate(
    context: TrainingContext[RandomCutForestHyperparameters], model: RandomCutForestModel, workers: Workers
) -> None:
    """Report how well the scores of channel test tell its labels."""
    import numpy as np

    from wildsage.algorithms.randomcutforest.shingles import Shingler

    stream = _open(context, "test", 1)
    if stream.feature_dim != model.feature_dim:
        raise ClientError(f"channel test has {stream.feature_dim} features; channel train has {model.feature_dim}")
    shingler, scores, labels = Shingler(model.shingle_size, model.feature_dim), [], []
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
    import numpy as np

    from wildsage.algorithms.randomcutforest.shingles import Shingler

    shingler, scores, rows = Shingler(model.shingle_size, model.feature_dim), [], 0
    stream = _open(context, "train", 0)
    for batch in stream:
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
