"""PCA as a training job sees it."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.base import Algorithm, MemoryEstimate
from wildsage.algorithms.checkpoint import fingerprint
from wildsage.algorithms.model_channel import earlier_model, refuse_misfit
from wildsage.algorithms.pca.hyperparameters import PCAHyperparameters
from wildsage.algorithms.pca.model import Facts, PCAModel
from wildsage.algorithms.pca.state import SMALL_DIM, Covariance, Moments, Sketch
from wildsage.algorithms.row_channel import asked_dim, likely_dim, open_rows
from wildsage.algorithms.streaming import Workers, check_dimension, run
from wildsage.contract.errors import ClientError
from wildsage.contract.pictures import explained_variance

if TYPE_CHECKING:
    from wildsage.algorithms.context import TrainingContext

BASE_BYTES = 250 << 20  # Python, NumPy, Numba with LLVM, the kernels, and what reads rows
CHANGE_OVER = 2000  # columns from which on a sketch is faster than all products
SMALLEST_BATCH, LARGEST_BATCH, BATCH_BYTES = 1024, 1 << 16, 1 << 23


class PCA(Algorithm[PCAHyperparameters]):
    """Principal components in one pass."""

    name = "pca"
    hyperparameters = PCAHyperparameters
    model = PCAModel
    optional_channels = ("test", "model")

    def estimate_memory(self, context: TrainingContext[PCAHyperparameters]) -> MemoryEstimate:
        """The peak, for the number of columns that the first row has."""
        parameters = context.hyperparameters
        dim = likely_dim(context, label_width=0)
        if dim is None:
            return MemoryEstimate(BASE_BYTES, "set feature_dim to know")
        rows = _batch_rows(parameters, dim)
        if parameters.is_randomized:
            width = parameters.sketch_width(dim)
            peak, advice = 8 * dim * width * 6, "lower num_components or extra_components"
        else:
            # The products, their copy, what the solver makes of it and works in, the state that is saved.
            copies = 7 + (2 * context.threads if dim <= SMALL_DIM else 0)
            peak, advice = 8 * dim * dim * copies, "set algorithm_mode=randomized, or use fewer columns"
        return MemoryEstimate(BASE_BYTES + peak + 4 * rows * dim * (2 + 2 * context.threads), advice)

    def train(self, context: TrainingContext[PCAHyperparameters]) -> PCAModel:
        """Find the components, from the checkpoint if there is one, in one pass over channel `train`.

        Channel `model` may hold a model of ours: its rows count as if they had come first. Channel `test` is scored by
        what is lost when its rows are put together again from their projections.
        """
        parameters, report = context.hyperparameters, context.report
        for note in parameters.notes():
            report.say(note)
        stream = open_rows(context, "train", batch_rows=SMALLEST_BATCH, label_width=0)
        dim = check_dimension(asked_dim(context), stream.feature_dim, "train")
        stream.batch_rows = _batch_rows(parameters, dim)
        if parameters.num_components > dim:
            stream.close()
            raise ClientError(
                f"num_components = {parameters.num_components} is not allowed: channel train has {dim} features"
            )
        if not parameters.is_randomized and dim > CHANGE_OVER:
            report.say(
                f"{dim:,} features make a matrix of {8 * dim * dim / 1e6:,.0f} MB; "
                "algorithm_mode=randomized would be faster"
            )
        with closing(stream), Workers(context.threads) as workers:
            state = _make_state(parameters, dim, workers)
            marks, earlier = [], 0
            model_before = earlier_model(context, PCAModel, self.name)
            if model_before is not None:
                _go_on(parameters, model_before, state)
                marks, earlier = list(state.arrays().values()), state.count
                report.say(f"going on from a model of {earlier:,} rows")
            epochs = parameters.epochs if parameters.is_randomized else 1

            def after_epoch(done: int) -> bool:
                if isinstance(state, Sketch) and done < epochs:
                    _check_rows(state, parameters)
                    state.sharpen(subtract_mean=parameters.subtract_mean)
                return False

            seen = run(
                context,
                stream,
                state,
                epochs=epochs,
                fingerprint=fingerprint(context, *marks),
                after_epoch=after_epoch,
            )
            model = _model(context, state, stream.feature_names)
        shares = model.explained[::-1]
        report.summary(
            train_rows=seen.total_rows,
            rows=state.count,
            feature_dim=dim,
            num_components=parameters.num_components,
            total_variance=model.facts.total / max(1, state.count - int(parameters.subtract_mean)),
            explained_variance_ratio=shares.tolist(),
            **({"rows_of_earlier_model": earlier} if earlier else {}),
        )
        report.picture(explained_variance(shares.tolist()))
        report.say(
            f"{parameters.num_components} components explain {shares.sum():.4%} of the variance of "
            f"{state.count:,} rows, the first {shares[0]:.4%}"
        )
        if "test" in context.channels and not context.stop.is_set():
            _score(context, model)
        return model

    @classmethod
    def warm_up(cls) -> None:
        """Compile every kernel that training and answering need, by small jobs on dense and on sparse rows."""
        from wildsage.algorithms.rehearsal import rehearse
        from wildsage.contract.content_types import CSV, LIBSVM
        from wildsage.data.warm import warm_up

        warm_up()
        sparse = "".join(f"0 {k}:1.5\n" for k in range(40)).encode()
        for kind, content, dim in ((CSV, b"1,2,3\n4,5,7\n9,8,1\n", 3), (LIBSVM, sparse, 40)):
            for mode in ("regular", "randomized"):
                rehearse(cls, content, kind, num_components=1, algorithm_mode=mode, feature_dim=dim)


def _batch_rows(parameters: PCAHyperparameters, dim: int) -> int:
    """Rows taken at once: whole mini-batches, as many as keep threads busy. Components do not depend on it."""
    rows = min(max(BATCH_BYTES // (4 * dim), SMALLEST_BATCH), LARGEST_BATCH)
    if parameters.mini_batch_size == "auto":
        return rows
    return parameters.mini_batch_size * max(1, rows // parameters.mini_batch_size)


def _make_state(parameters: PCAHyperparameters, dim: int, workers: Workers) -> Covariance | Sketch:
    if parameters.is_randomized:
        return Sketch(dim, workers, parameters.sketch_width(dim), parameters.seed)
    return Covariance(dim, workers)


def _go_on(parameters: PCAHyperparameters, model: PCAModel, state: Covariance | Sketch) -> None:
    """Become the state of an earlier model. Raises ClientError if it does not fit."""
    found = model.state_arrays()
    if found is None:
        refuse_misfit(["the model has no state.safetensors, without which training can't go on"])
        return
    mode, arrays = found
    problems = []
    if model.feature_dim != state.dim:
        problems.append(f"it has {model.feature_dim} features, and channel train {state.dim}")
    if mode != state.kind:
        problems.append(f"it was trained with algorithm_mode={mode}")
    elif isinstance(state, Sketch):
        if parameters.epochs > 1:
            problems.append("its rows cannot be passed over again, so epochs must be 1")
        width = int(arrays["basis"].shape[1]) if "basis" in arrays else 0
        if width != state.width:
            problems.append(f"its num_components and extra_components make {width} together, not {state.width}")
    refuse_misfit(problems)
    try:
        state.restore(arrays)
    except (KeyError, ValueError) as error:
        raise ClientError(f"channel model: state.safetensors is damaged: {error}") from error


def _check_rows(state: Moments, parameters: PCAHyperparameters) -> None:
    least = max(parameters.num_components, 1 + int(parameters.subtract_mean))
    if state.count < least:
        raise ClientError(
            f"channel train has {state.count} row{'s' * (state.count != 1)}, and "
            f"num_components = {parameters.num_components} needs {least} or more"
        )


def _model(
    context: TrainingContext[PCAHyperparameters], state: Covariance | Sketch, names: tuple[str, ...] | None
) -> PCAModel:
    parameters = context.hyperparameters
    _check_rows(state, parameters)
    begun = time.monotonic()
    found = state.components(parameters.num_components, subtract_mean=parameters.subtract_mean)
    if not found.total > 0:
        what = "equal" if parameters.subtract_mean else "zero"
        raise ClientError(f"all {state.count:,} rows of channel train are {what}: there is no variance to explain")
    context.report.summary(seconds_solving=round(time.monotonic() - begun, 3))
    facts = Facts(found.rows, found.total, parameters.subtract_mean, state.kind, names)
    return PCAModel.of(found, facts, state)


def _score(context: TrainingContext[PCAHyperparameters], model: PCAModel) -> None:
    """Report what is lost of the rows of channel `test`."""
    lost = whole = 0.0
    rows = 0
    dim = model.feature_dim
    batch_rows = _batch_rows(context.hyperparameters, dim)
    with closing(open_rows(context, "test", batch_rows=batch_rows, feature_dim=dim, label_width=0)) as stream:
        for batch in stream:
            errors = model.squared_errors(batch.features)
            lost, whole, rows = lost + errors[0], whole + errors[1], rows + len(batch)
    if context.stop.is_set():
        return
    error = lost / (rows * dim)
    context.report.metric("test:reconstruction_error", error)
    context.report.metric("test:explained_variance_ratio", 1 - lost / whole if whole > 0 else float(np.nan))
    context.report.summary(test_rows=rows, test_reconstruction_error=error)
