"""k-means as a training job sees it."""

from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms import streaming
from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.checkpoint import fingerprint
from wildsage.algorithms.clock import Clock
from wildsage.algorithms.kmeans.assignment import Assignment, Centres, TooLargeError
from wildsage.algorithms.kmeans.hyperparameters import KMeansHyperparameters
from wildsage.algorithms.kmeans.model import KMeansModel
from wildsage.algorithms.kmeans.picture import SHOWN_ROWS, draw
from wildsage.algorithms.kmeans.state import KMeansState, sample_rows
from wildsage.algorithms.model_channel import earlier_model, refuse_misfit
from wildsage.algorithms.row_channel import asked_dim, likely_dim, open_rows
from wildsage.contract.content_types import CSV, RECORDIO_PROTOBUF

if TYPE_CHECKING:
    from wildsage.algorithms.context import TrainingContext
    from wildsage.algorithms.streaming import Workers
    from wildsage.data.readers import RowStream

# Mini-batches are taken together up to so many rows: once centres have settled, they hardly move within them, and
# threads share more at once.
STEP_ROWS = 20_000
BASE_BYTES = 400 << 20  # Python, NumPy, Numba with LLVM, the kernels, and what is read ahead: 371 MB measured


class KMeans(Algorithm[KMeansHyperparameters]):
    """Clusters of rows that are close to each other, from one pass over any number of them."""

    name = "kmeans"
    hyperparameters = KMeansHyperparameters
    model = KMeansModel
    optional_channels = ("test", "model")

    def estimate_memory(self, context: TrainingContext[KMeansHyperparameters]) -> MemoryEstimate:
        """The peak: centres, the rows that are kept, and what threads work in; the number of rows does not matter."""
        parameters = context.hyperparameters
        features = likely_dim(context, label_width=0) or 1
        centres = parameters.k * parameters.factor
        floats = (3 + context.threads) * (centres + 32) * (features + 17)  # table, forms, a copy, and sums of a thread
        floats += 2 * sample_rows(parameters, features) * features  # and when it is written to a checkpoint
        floats += 3 * max(STEP_ROWS, parameters.mini_batch_size) * (features + 2)
        doubles = 3 * centres * features + 2 * centres * parameters.k
        advice = (
            f"lower k (now {parameters.k:,}), extra_center_factor (now {parameters.factor}) or mini_batch_size (now "
            f"{parameters.mini_batch_size:,})"
        )
        return MemoryEstimate(BASE_BYTES + 4 * floats + 8 * doubles, advice)

    def train(self, context: TrainingContext[KMeansHyperparameters]) -> KMeansModel:
        """Find k centres, from the checkpoint if there is one.

        Channel `model` may hold a model to go on from: its centres begin with the weights that they had.
        """
        parameters, clock = context.hyperparameters, Clock()
        stream = _open(context, "train")
        with closing(stream), streaming.Workers(context.threads) as workers:
            features = streaming.check_dimension(asked_dim(context), stream.feature_dim, "train")
            earlier = self._earlier(context, features)
            state = KMeansState(
                parameters, features, workers, rank=context.rank, names=stream.feature_names,
                earlier=None if earlier is None else (earlier.centres, earlier.weights / context.world_size),
            )  # fmt: skip

            def after_epoch(epochs: int) -> bool:
                state.end_epoch()
                return False

            with clock.phase("train"):
                marks = () if earlier is None else (earlier.centres, earlier.weights)
                seen = streaming.run(
                    context,
                    stream,
                    state,
                    epochs=parameters.epochs,
                    fingerprint=fingerprint(context, *marks),
                    after_epoch=after_epoch,
                )
            with clock.phase("reduce"):
                found = state.finalise(context.stop)
            model = KMeansModel(found.centres, found.weights, stream.feature_names)
            rows = state.sample[: min(state.held, SHOWN_ROWS)] + state.origin
            shown = draw(rows, model.centres, stream.feature_names)
            if shown is not None:
                context.report.picture(shown)
            scores = {"msd": found.distance, "ssd": found.distance * (seen.total_rows / max(1, seen.epochs))}
            epoch = max(1, seen.epochs)
            for name in dict.fromkeys(parameters.eval_metrics):
                context.report.metric(f"train:{name}", scores[name], epoch=epoch)
            if state.settled:
                context.report.say(f"scores of channel train are of {found.sampled:,} rows drawn from all of them")
            if "test" in context.channels and not context.stop.is_set():
                with clock.phase("test"):
                    self._test(context, model, workers, epoch)
        context.report.summary(
            epochs_run=seen.epochs,
            epochs_asked=parameters.epochs,
            rows=seen.total_rows,
            feature_dim=features,
            k=parameters.k,
            working_centres=parameters.k * parameters.factor,
            mean_squared_distance=found.distance,
            sampled_rows=found.sampled,
            cluster_sizes=[round(weight) for weight in sorted(found.weights.tolist(), reverse=True)[:1000]],
            seconds=clock.rounded(),
            threads=context.threads,
        )
        return model

    def _earlier(self, context: TrainingContext[KMeansHyperparameters], features: int) -> KMeansModel | None:
        """The model in channel `model`, if there is one. Raises ClientError for one that does not fit."""
        model = earlier_model(context, KMeansModel, self.name)
        if model is None:
            return None
        if model.feature_dim != features:
            refuse_misfit([f"its centres have {model.feature_dim:,} features; channel train has {features:,}"])
        context.report.say(
            f"going on from a model of {len(model.centres):,} centres, for {round(float(model.weights.sum())):,} rows"
        )
        return model

    def _test(
        self, context: TrainingContext[KMeansHyperparameters], model: KMeansModel, workers: Workers, epoch: int
    ) -> None:
        """Score channel `test`, all rows of it."""
        origin = model.centres.mean(axis=0, dtype=np.float64).astype(np.float32)
        with closing(_open(context, "test", model.feature_dim)) as stream:
            if stream.sparse:
                origin[:] = 0
            centres = Centres(len(model.centres), model.feature_dim)
            centres.put(slice(0, len(model.centres)), model.centres - origin)
            assignment = Assignment(centres, workers, origin)
            loss, rows = 0.0, 0
            for batch in stream:
                try:
                    loss += assignment.run(batch.features)
                except TooLargeError as error:
                    raise batch.error(error.row, "numbers too large for distances in float32") from error
                assignment.clear()
                rows += len(batch)
        if context.stop.is_set():
            return
        scores = {"msd": loss / max(1, rows), "ssd": loss}
        for name in dict.fromkeys(context.hyperparameters.eval_metrics):
            context.report.metric(f"test:{name}", scores[name], epoch=epoch)

    @classmethod
    def warm_up(cls) -> None:
        """Compile every kernel that training and answering need, by going through small jobs."""
        from wildsage.algorithms.rehearsal import rehearse
        from wildsage.data.record import Record, Tensor, encode, frame
        from wildsage.data.recordio import write_numpy_to_dense_tensor
        from wildsage.data.warm import warm_up

        warm_up(CSV, RECORDIO_PROTOBUF)
        rows = np.arange(40, dtype=np.float32).reshape(20, 2) % 7
        dense = io.BytesIO()
        write_numpy_to_dense_tensor(dense, rows)
        keys = np.arange(1, dtype=np.int64)
        sparse = b"".join(frame(encode(Record({"values": Tensor(row[:1], keys, (2,))}))) for row in rows)
        text = "".join(f"{a},{b}\n" for a, b in rows.tolist()).encode()
        for content, kind in ((text, CSV), (dense.getvalue(), RECORDIO_PROTOBUF), (sparse, RECORDIO_PROTOBUF)):
            rehearse(cls, content, kind, channels=("train", "test"), k=2, mini_batch_size=9)


def _open(context: TrainingContext[KMeansHyperparameters], name: str, feature_dim: int | None = None) -> RowStream:
    """A channel's rows, without labels unless the content type says otherwise."""
    parameters = context.hyperparameters
    together = max(1, STEP_ROWS // parameters.mini_batch_size)
    if name == "train" and parameters.half_life_time_size:
        together = 1  # within one, nothing fades
    batch_rows = parameters.mini_batch_size * together
    return open_rows(context, name, batch_rows=batch_rows, feature_dim=feature_dim, label_width=0)
