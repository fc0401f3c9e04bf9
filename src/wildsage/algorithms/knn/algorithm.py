"""k-NN as a training job sees it."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.checkpoint import fingerprint
from wildsage.algorithms.knn.hyperparameters import FLAT, IVF_FLAT, IVF_PQ, KNNHyperparameters
from wildsage.algorithms.knn.model import NearestNeighbours, Settings
from wildsage.algorithms.model_channel import earlier_model, refuse_misfit
from wildsage.algorithms.row_channel import asked_dim, likely_dim, open_rows
from wildsage.contract.channels import InputMode
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from wildsage.algorithms.context import TrainingContext
    from wildsage.algorithms.knn.state import Sample
    from wildsage.algorithms.streaming import Workers
    from wildsage.contract.channels import Channel

BASE_BYTES = 200 << 20  # Python, NumPy, Numba, faiss, and what the reader holds
CSV_GROWTH = 2  # bytes of float32 for a byte of text: a digit and a comma
GZIP_GROWTH = 10
KEPT_BYTES = 24  # of a row, beside its columns
OF_ANSWERS = ("k", "faiss_index_ivf_nlists")  # hyperparameters that the sample does not depend on
FEW_ROWS = 39  # for a centroid: below it faiss warns


class KNN(Algorithm[KNNHyperparameters]):
    """k-nearest neighbours in a sample of the rows."""

    name = "knn"
    hyperparameters = KNNHyperparameters
    model = NearestNeighbours
    optional_channels = ("test", "model")

    def estimate_memory(self, context: TrainingContext[KNNHyperparameters]) -> MemoryEstimate:
        """The sample's rows, as many as there may be in files of that size, and an inverted file beside them."""
        parameters = context.hyperparameters
        rows = _bytes_of(context.channels["train"])
        dim = likely_dim(context)
        if dim is not None:
            sample = (4 * dim + KEPT_BYTES) * parameters.sample_size
            rows = sample if rows is None else min(rows, sample)
            reduced = parameters.dimension_reduction_target
            rows = rows if reduced is None else rows * reduced // dim + KEPT_BYTES * (rows // (4 * dim))
        rows = rows or 0
        # An inverted file's lists grow while the rows beside them go; they have room to spare.
        peak = rows if parameters.index_type == FLAT else 2 * rows
        advice = "lower sample_size, or reduce dimensions (dimension_reduction_type, dimension_reduction_target)"
        return MemoryEstimate(BASE_BYTES + peak, advice)

    def train(self, context: TrainingContext[KNNHyperparameters]) -> NearestNeighbours:
        """Sample the rows and index them, from the checkpoint if there is one; then score channel `test`.

        Channel `model` may hold an earlier model: its rows and the new ones become one sample.
        """
        from wildsage.algorithms import streaming
        from wildsage.algorithms.knn.index import library
        from wildsage.algorithms.knn.preparation import Preparation
        from wildsage.algorithms.knn.state import Sample

        library()  # its absence is told before anything is read
        parameters, report = context.hyperparameters, context.report
        for note in parameters.notes():
            report.say(note)
        clock = time.monotonic()
        stream = open_rows(context, "train", batch_rows=parameters.mini_batch_size)
        with ExitStack() as stack:
            stack.callback(stream.close)
            if stream.label_width != 1:
                raise ClientError(f"channel train has {stream.label_width} labels a row; k-NN needs one")
            dim = streaming.check_dimension(asked_dim(context), stream.feature_dim, "train")
            if problems := parameters.target_problems(dim):
                raise ClientError("\n".join(problems))
            earlier = _earlier(context, dim)
            if earlier is None:
                reduced = parameters.dimension_reduction_target or dim
                multiple = parameters.subvectors(reduced) if parameters.index_type == IVF_PQ else 1
                preparation = Preparation.draw(
                    dim, parameters.dimension_reduction_type, parameters.dimension_reduction_target, multiple,
                    parameters.index_metric == "COSINE", parameters.seed,
                )  # fmt: skip
            else:
                preparation = earlier.preparation
            workers = stack.enter_context(streaming.Workers(context.threads))
            rounds = 1 if earlier is None else earlier.settings.rounds + 1
            state = Sample(
                parameters.sample_size, preparation, workers,
                seed=f"{parameters.seed} {rounds}", whole_labels=parameters.predictor_type == "classifier",
            )  # fmt: skip
            if earlier is not None:
                state.take_kept(earlier.index.vectors(), earlier.labels, earlier.keys, earlier.settings.rows_seen)
            marks = () if earlier is None else (state.keys, state.labels, state.rows.used)
            mark = fingerprint(context, *marks, without=OF_ANSWERS)
            earlier, marks = None, ()  # their memory goes
            seen = streaming.run(context, stream, state, epochs=1, fingerprint=mark)
            read_s = time.monotonic() - clock
            if state.rows.count < parameters.k:
                where = "before training was stopped" if seen.stopped else "in channel train"
                raise ClientError(f"k = {parameters.k} is not allowed: there are {state.rows.count} rows {where}")
            clock = time.monotonic()
            model = _index(context, state, Settings(
                k=parameters.k,
                predictor_type=parameters.predictor_type,
                index_type=parameters.index_type,
                index_metric=parameters.index_metric,
                feature_dim=dim,
                dimension_reduction_type=preparation.kind,
                dimension_reduction_target=preparation.target,
                rows_seen=state.seen,
                rounds=rounds,
                feature_names=stream.feature_names,
            ))  # fmt: skip
            build_s = time.monotonic() - clock
            report.summary(
                train_examples=seen.total_rows, rows_seen=state.seen, index_rows=model.index.count,
                dimensions=model.index.width, seconds={"read": round(read_s, 3), "index": round(build_s, 3)},
            )  # fmt: skip
            if "test" in context.channels and not context.stop.is_set():
                _score(context, model, workers)
        return model

    @classmethod
    def warm_up(cls) -> None:
        """Compile every kernel that training and answering need, by going through small jobs and their models."""
        from wildsage.algorithms.knn.kernels.lists import find_partners, swap
        from wildsage.algorithms.rehearsal import rehearse
        from wildsage.contract.content_types import CSV
        from wildsage.data.warm import warm_up

        warm_up()
        random = np.random.default_rng(0)
        content = "".join(f"{i % 3},{','.join(map(str, random.integers(0, 99, 40)))}\n" for i in range(60)).encode()
        reduced: dict[str, Any] = {"dimension_reduction_target": 20, "index_metric": "COSINE"}
        for more in (
            {"predictor_type": "classifier"},
            {"predictor_type": "classifier", "dimension_reduction_type": "sign", **reduced},
            {"predictor_type": "regressor", "dimension_reduction_type": "fjlt", **reduced},
            {"predictor_type": "regressor", "index_type": IVF_FLAT},
        ):
            # Fewer rows are kept than there are, so that some have to go.
            rehearse(cls, content, CSV, threads=2, k=2, sample_size=40, mini_batch_size=30, **more)
        # What an inverted file of many rows alone comes to.
        partners = np.zeros(1, np.int32)
        find_partners(np.zeros(1, np.int32), partners)
        for back in (False, True):
            swap(np.zeros(1, np.float32), 1, partners, back)


def _index(context: TrainingContext[KNNHyperparameters], state: Sample, settings: Settings) -> NearestNeighbours:
    """Make the model; the sample's rows are gone after it."""
    from wildsage.algorithms.knn.index import Index

    parameters, count = context.hyperparameters, state.rows.count
    lists, subvectors = 1, 1
    if parameters.index_type != FLAT:
        asked = parameters.faiss_index_ivf_nlists
        lists = max(1, math.isqrt(min(parameters.sample_size, count)) if asked == "auto" else asked)
        if lists > count:
            context.report.say(f"the index gets {count} lists, one a row: {lists} were asked for")
            lists = count
        elif count < FEW_ROWS * lists and asked != "auto":
            context.report.say(
                f"{count:,} rows are few for {lists:,} lists ({FEW_ROWS} rows for each are advised): "
                "fewer lists (faiss_index_ivf_nlists) would be found better"
            )
    if parameters.index_type == IVF_PQ:
        subvectors = parameters.subvectors(parameters.dimension_reduction_target or settings.feature_dim)
        if state.rows.width % subvectors:
            raise ClientError(
                f"faiss_index_pq_m = {subvectors} is not allowed: the model in channel model has "
                f"{state.rows.width} columns, which it must divide"
            )
        if count < 2:
            raise ClientError("product quantization needs at least 2 rows")
        if count < 256:
            context.report.say(f"{count} rows are few for product quantization, which wants 256: codes are shorter")
    labels, keys = state.labels, state.keys
    index = Index.build(
        parameters.index_type,
        state.rows,
        product=parameters.index_metric != "L2",
        lists=lists,
        subvectors=subvectors,
        seed=parameters.seed,
        threads=context.threads,
    )
    return NearestNeighbours(settings, index, state.preparation, labels, keys)


def _score(context: TrainingContext[KNNHyperparameters], model: NearestNeighbours, workers: Workers) -> None:
    """Report the accuracy, or the mean squared error, on channel `test`; nothing when stopped before its end."""
    from wildsage.algorithms.knn.state import check_classes
    from wildsage.algorithms.streaming import Workers as OneThread

    parameters, is_classifier = context.hyperparameters, context.hyperparameters.predictor_type == "classifier"
    stream = open_rows(context, "test", batch_rows=parameters.mini_batch_size, feature_dim=model.feature_dim)
    model.use(workers)
    total, count, begun = 0.0, 0, time.monotonic()
    try:
        if stream.label_width != 1:
            raise ClientError(f"channel test has {stream.label_width} labels a row; k-NN needs one")
        for batch in stream:
            if is_classifier:
                check_classes(batch)
            if batch.labels is None:
                raise batch.error(0, "no label to score by")
            wrong = model.answer(batch, {})["predicted_label"].astype(np.float64) - batch.labels
            total += float((wrong == 0).sum() if is_classifier else np.square(wrong).sum())
            count += len(batch)
            if stream.expected_rows is not None:
                context.report.progress(count, max(count + 1, stream.expected_rows), unit="rows of channel test")
    finally:
        stream.close()
        model.use(OneThread(1))
    if context.stop.is_set():
        return
    name = "accuracy" if is_classifier else "mse"
    value = total / count
    context.report.metric(f"test:{name}", value)
    context.report.say(f"#test_score (algo-{context.rank + 1}) : ('{name}', {value})")
    seconds = time.monotonic() - begun
    context.report.summary(test_examples=count, test_seconds=round(seconds, 3), **{f"test_{name}": value})


def _earlier(context: TrainingContext[KNNHyperparameters], dim: int) -> NearestNeighbours | None:
    """Load the model in channel `model`, and check that training can go on from it."""
    model = earlier_model(context, NearestNeighbours, KNN.name)
    if model is None:
        return None
    parameters = context.hyperparameters
    settings, problems = model.settings, []
    if settings.feature_dim != dim:
        problems.append(f"its rows have {settings.feature_dim} features, and those of channel train {dim}")
    if settings.index_metric != parameters.index_metric and "COSINE" in (
        settings.index_metric,
        parameters.index_metric,
    ):
        problems.append(f"it was trained with index_metric = {settings.index_metric}, so that must be so again")
    kind, target = parameters.dimension_reduction_type, parameters.dimension_reduction_target
    if settings.dimension_reduction_type != kind:
        theirs = settings.dimension_reduction_type or "none"
        problems.append(f"its dimension_reduction_type is {theirs}, so that must be so again")
    elif kind is not None and target is not None and settings.dimension_reduction_target < target:
        theirs = str(settings.dimension_reduction_target)
        problems.append(f"its dimension_reduction_target is {theirs}, so that must be so again")
    if parameters.predictor_type == "classifier" and bool((model.labels != np.floor(model.labels)).any()):
        problems.append("its labels are no classes, so predictor_type must be regressor")
    refuse_misfit(problems)
    context.report.say(f"going on from a model of {model.index.count:,} rows, of {settings.rows_seen:,} seen")
    if settings.index_type == IVF_PQ:
        context.report.say("its rows are what product quantization has kept of them: near, not exact")
    return model


def _bytes_of(channel: Channel) -> int | None:
    """Float32 that the rows of a channel may take, at most; None where that cannot be known."""
    if channel.input_mode is InputMode.PIPE:
        return None
    total = 0
    for path in channel.files():
        growth = CSV_GROWTH
        with path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                growth *= GZIP_GROWTH
        total += growth * path.stat().st_size
    return total
