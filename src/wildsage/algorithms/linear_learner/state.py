"""What linear models keep between batches: weights of all models, the optimiser's moments, scales, and the best so far.

Source of the shape: Liberty et al., "Elastic Machine Learning Algorithms in Amazon SageMaker", SIGMOD 2020, section 3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from wildsage.algorithms.linear_learner import kernels
from wildsage.algorithms.linear_learner.evaluation import Cuts, choose_cut
from wildsage.algorithms.linear_learner.kernels import Block, Rows, Steps, Task
from wildsage.algorithms.linear_learner.scales import Scales
from wildsage.algorithms.linear_learner.settings import count_models, settings
from wildsage.algorithms.streaming import State
from wildsage.contract.errors import ClientError
from wildsage.data.batch import Batch, Origin, SparseRows
from wildsage.kernels.vector import WIDTH, aligned, padded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from numpy.typing import NDArray

    from wildsage.algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
    from wildsage.algorithms.streaming import Workers

    Floats = NDArray[np.float64]

KINDS = {
    "logistic": kernels.LOGISTIC, "hinge_loss": kernels.HINGE, "squared_loss": kernels.SQUARED,
    "absolute_loss": kernels.ABSOLUTE, "quantile_loss": kernels.QUANTILE, "huber_loss": kernels.HUBER,
    "eps_insensitive_squared_loss": kernels.EPS_SQUARED, "eps_insensitive_absolute_loss": kernels.EPS_ABSOLUTE,
    "softmax_loss": kernels.SOFTMAX,
}  # fmt: skip

AVERAGING = 4.0  # values are averaged over about the last fifth of all updates
UPDATES = 300  # of an epoch, where mini_batch_size is left open and there are rows for so many
LEAST_ROWS = 32  # of an update
SAMPLE_ROWS = 10_000  # of train that models are judged by where there is no validation, 5,000 at least if there are
SAMPLE_BYTES = 1 << 24
ASSESSED_ROWS = 512  # at a time
MASKED = np.float32(-1e9)  # bias of a lane that is no class
CLOSE_BY = 0.02  # share of the best loss, within which a model may still become the best
LAST_DECAY = 0.01  # of the step size's schedule, at the end of the last epoch
FLOOR = 1e-3  # smallest step size, of the first

COUNTS = (
    "rows", "epoch_rows", "updates", "weight", "epoch_weight", "epochs", "stride", "pending", "ready",
)  # fmt: skip


class LinearState(State):
    """Models that are trained side by side, sixteen a block.

    stacks: float32 (blocks, (d + 1) * width) each: values, mean, first, second, and best, the mean at each model's best
    epoch. scales: of features and the label. classes: float64, weight seen of each class. counts: as COUNTS names them.
    train_losses: float64 (blocks * 16,), of the epoch so far. keys: float64 (models,), at each model's best epoch
    what it was judged by, the lower the better. references, waits: float64 (models,), what a gain is measured from, and
    epochs without one.
    Rows of train that models are judged by, where nothing else is given: every stride-th one, thinned as they get many.
    """

    def __init__(
        self,
        parameters: LinearLearnerHyperparameters,
        d: int,
        workers: Workers,
        *,
        keeps_sample: bool,
        start: tuple[Floats, Floats] | None = None,
    ) -> None:
        """start: weights (classes, d) and biases to begin with, for rows and labels as they come."""
        self.parameters, self.d, self.workers, self.start = parameters, d, workers, start
        self.models = count_models(parameters, d)
        self.by_class = parameters.classes > 1 and self.models == 1
        self.width = padded(parameters.classes) if self.by_class else parameters.classes * WIDTH
        self.blocks = 1 if self.by_class else -(-self.models // WIDTH)
        self.settings = settings(parameters, self.models)
        self.adaptive = parameters.optimizer != "sgd"
        names = ("values", "mean", "best", "first", *(("second",) if self.adaptive else ()))
        size = (d + 1) * self.width
        self.stacks = {name: aligned(self.blocks * size).reshape(self.blocks, size) for name in names}
        self.scales = Scales(parameters, d)
        self.classes = np.zeros(max(2, parameters.classes))
        self.counts = np.zeros(len(COUNTS))
        self.set("stride", 1)
        self.train_losses = np.zeros(self.blocks * WIDTH)
        self.keys = np.full(self.models, np.inf)
        self.references, self.waits = np.full(self.models, np.inf), np.zeros(self.models)
        self.best_epochs = np.zeros(self.models)
        kind = kernels.SOFTMAX_BY_CLASS if self.by_class else KINDS[parameters.loss_function]
        parameter = {
            "hinge_loss": parameters.margin, "quantile_loss": parameters.quantile, "huber_loss": parameters.huber_delta,
        }.get(parameters.loss_function, parameters.loss_insensitivity)  # fmt: skip
        self.task = Task(kind, parameters.classes, self.width, float(parameter))
        self.sample: Batch | None = None
        self.keeps_sample = keeps_sample
        self.sample_rows = max(100, min(SAMPLE_ROWS, SAMPLE_BYTES // (4 * d + 8)))
        self.judge: Callable[[], None] | None = None  # ends a judgement that a stop has interrupted
        self._made: list[Block] = []
        self._weights = aligned(self.blocks * size).reshape(self.blocks, size)

    def get(self, name: str) -> float:
        return float(self.counts[COUNTS.index(name)])

    def set(self, name: str, value: float) -> None:
        self.counts[COUNTS.index(name)] = value

    @property
    def mini_batch_size(self) -> int:
        """Rows of an update: as given; else so that an epoch has UPDATES of them, 1,000 rows at most."""
        if "mini_batch_size" in self.parameters.model_fields_set:
            return self.parameters.mini_batch_size
        epochs = self.get("epochs")
        rows = self.get("rows") / epochs if epochs else self.get("rows")
        return int(min(self.parameters.mini_batch_size, max(LEAST_ROWS, rows // UPDATES)))

    def folded(self, values: NDArray[np.float32]) -> Floats:
        """Weights and biases (blocks, d + 1, width) of a stack, for features as they come; labels are still scaled."""
        return self.scales.folded(values.reshape(self.blocks, self.d + 1, self.width))

    # Blocks

    def _begin(self) -> None:
        """The first values: those of a model to go on from, or random ones."""
        parameters, lanes = self.parameters, self.lanes
        if self.start is not None:
            # The label's mean and scale are 0 and 1 where it is a class.
            scale = self.scales.label_scale
            weights, biases = self.start[0] / scale, (self.start[1] - self.scales.label_mean) / scale
            both = np.concatenate([weights.T, biases[None]])  # (d + 1, classes)
            made = np.zeros((self.blocks, self.d + 1, self.width))
            made[:, :, lanes >= 0] = both[:, lanes[lanes >= 0]]
            made = self.scales.unfolded(made)
        else:
            random = np.random.default_rng(parameters.seed)
            shape = (self.blocks, self.d + 1, self.width)
            if parameters.init_method == "uniform":
                made = random.uniform(-parameters.init_scale, parameters.init_scale, shape)
            else:
                made = random.normal(0, parameters.init_sigma, shape)
            made[:, self.d] = parameters.init_bias
        alive = self.alive
        made *= alive[:, None]
        made[:, self.d] += np.where(alive, 0, float(MASKED) if self.by_class else 0)
        if not parameters.use_bias:
            made[:, self.d] = np.where(alive, 0, made[:, self.d])
        for name in ("values", "mean", "best"):
            self.stacks[name][...] = made.reshape(self.blocks, -1)

    @property
    def lanes(self) -> NDArray[np.int64]:
        """(width,), the class of each entry of a row of weights; -1 for none."""
        places = np.arange(self.width)
        if self.by_class:
            return np.where(places < self.parameters.classes, places, -1)
        return places // WIDTH

    @property
    def alive(self) -> NDArray[np.bool_]:
        """(blocks, width), which entries belong to a model."""
        if self.by_class:
            return (self.lanes >= 0)[None]
        model = np.arange(self.blocks)[:, None] * WIDTH + np.arange(self.width) % WIDTH
        return model < self.models

    def _per_entry(self, value: Callable[[int], float]) -> NDArray[np.float32]:
        """float32 (blocks, width), of each entry its model's value; 0 for one of none."""
        made = np.zeros((self.blocks, self.width), np.float32)
        for model in range(self.models):
            block, lane = divmod(model, WIDTH)
            made[block, slice(None) if self.by_class else slice(lane, None, WIDTH)] = value(model)
        return made * self.alive

    def _make_blocks(self) -> None:
        """Arrays of each block, and weights folded from values."""
        size, rows = (self.d + 1) * self.width, max(self.parameters.mini_batch_size, ASSESSED_ROWS)
        rates = self._per_entry(lambda model: self.settings[model].rate)
        lowest = self.parameters.lr_scheduler_minimum_lr
        scheduled = self.parameters.use_lr_scheduler
        floors = rates * np.float32(FLOOR if scheduled else 0)
        if lowest != "auto" and scheduled:
            floors = np.minimum(np.float32(lowest), rates) * self.alive
        l1 = self._per_entry(lambda model: self.settings[model].l1)
        wd = self._per_entry(lambda model: self.settings[model].wd)
        unused = aligned(WIDTH)
        self._made = [
            Block(
                values=self.stacks["values"][k], weights=self._weights[k], mean=self.stacks["mean"][k],
                first=self.stacks["first"][k], second=self.stacks["second"][k] if self.adaptive else unused,
                gradient=aligned(size), scores=aligned(rows * self.width), rates=rates[k].copy(),
                floors=floors[k].astype(np.float32), l1=l1[k].copy(), wd=wd[k].copy(), positives=aligned(WIDTH),
                losses=aligned(WIDTH, np.float64), scratch=aligned(WIDTH),
            )
            for k in range(self.blocks)
        ]  # fmt: skip
        self._far = self.scales.far

    # Rows

    def check(self, batch: Batch) -> NDArray[np.float32]:
        """The labels, float32 (n,). Raises DataError for a row whose label is not allowed, or with several."""
        if batch.labels is None:
            raise ClientError("channel train has no labels: the first column of CSV, or label values of RecordIO")
        labels = batch.labels
        if labels.ndim != 1:
            raise batch.error(0, f"{labels.shape[1]} labels are not allowed: one a row")
        if not self.parameters.is_regressor:
            most = max(2, self.parameters.classes)
            wrong = ~((labels >= 0) & (labels < most) & (labels == np.floor(labels)))
            if wrong.any():
                row = int(np.argmax(wrong))
                allowed = "0 or 1" if most == 2 else f"0 to {most - 1}, num_classes being {most}"
                raise batch.error(row, f"label {labels[row]:g} is not allowed: {allowed}")
        if batch.features.shape[1] != self.d:
            raise batch.error(0, f"{batch.features.shape[1]} features are not allowed: {self.d}, as in the first row")
        if batch.weights is not None and (batch.weights < 0).any():
            row = int(np.argmax(batch.weights < 0))
            raise batch.error(row, f"weight {batch.weights[row]:g} is not allowed: 0 or more")
        return np.ascontiguousarray(labels)

    def class_weights(self) -> Floats | None:
        """What each class weighs in the loss, by what was seen so far; None where all weigh 1."""
        seen = self.classes
        given = self.parameters.positive_example_weight_mult
        if self.parameters.is_binary and given != "auto":
            weight = self._balance if given == "balanced" else float(given)
            return None if weight == 1 else np.array([1.0, weight])
        if self.parameters.classes > 1 and self.parameters.balance_multiclass_weights:
            there = seen > 0
            return np.where(there, seen.sum() / np.maximum(seen, 1e-30) / max(1, there.sum()), 1.0)
        return None

    @property
    def _balance(self) -> float:
        """Negatives a positive."""
        negatives, positives = self.classes[:2]
        return float(negatives / positives) if positives and negatives else 1.0

    def _rows(self, batch: Batch, labels: NDArray[np.float32], *, weighs_classes: bool) -> Rows:
        scaled = labels
        if self.parameters.is_regressor:
            scaled = ((labels.astype(np.float64) - self.scales.label_mean) / self.scales.label_scale).astype(np.float32)
        none = np.zeros(0, np.float32)
        by_class = self.class_weights() if weighs_classes and not self.parameters.is_regressor else None
        return Rows(
            scaled,
            none if batch.weights is None else np.ascontiguousarray(batch.weights),
            none if by_class is None else by_class.astype(np.float32),
        )

    def update(self, batch: Batch) -> None:
        """Train all models on a batch's rows, some rows an update."""
        labels = self.check(batch)
        if not self.get("ready"):
            self.scales.measure(batch.features, labels)
            self._begin()
            self.set("ready", 1)
        if not self._made:
            self._make_blocks()
        if self.get("pending") and self.judge is not None:
            self.judge()
            self.has_stalled()  # counted late: this epoch has begun, and is trained in any case
        if not self.get("epoch_rows"):
            self.train_losses[:] = 0
            self.set("epoch_weight", 0)
        count = len(batch)
        weight = float(count if batch.weights is None else batch.weights.sum(dtype=np.float64))
        first_epoch = not self.get("epochs")
        if first_epoch and not self.parameters.is_regressor:
            self.classes += np.bincount(labels.astype(np.int64), batch.weights, len(self.classes))
        for name, more in (("rows", count), ("epoch_rows", count), ("weight", weight), ("epoch_weight", weight)):
            self.set(name, self.get(name) + more)
        rows = self._rows(batch, labels, weighs_classes=True)
        if self.parameters.positive_example_weight_mult == "auto" and self.parameters.is_binary:
            powers = self._per_entry(lambda model: self._balance ** self.settings[model].balance - 1)
            for k, block in enumerate(self._made):
                block.positives[:] = powers[k]
        parts = -(-count // self.mini_batch_size)
        number = int(self.get("updates")) + 1
        steps, share = self._steps(), self.get("rows") / max(self.get("weight"), 1e-30)
        features, shift, taken = batch.features, self.scales.shift, self._taken(batch)
        if taken is not None:
            features, shift = _less(features, taken), shift - taken
        # Also where nothing is taken off: the kernel folds in float32, and a resumed job begins with what this makes.
        self._refold(taken)
        fixed = (shift.astype(np.float32), (1 / self.scales.deviation).astype(np.float32), steps, number, share)

        def train(k: int) -> None:
            block = self._made[k]
            if isinstance(features, SparseRows):
                kernels.train_sparse(
                    features.starts, features.columns, features.values, count, self.d, rows, parts, self.task, block,
                    *fixed,
                )  # fmt: skip
            else:
                flat = np.ascontiguousarray(features).reshape(-1)
                kernels.train(flat, count, self.d, rows, parts, self.task, block, *fixed)
            self.train_losses[k * WIDTH : (k + 1) * WIDTH] += block.losses
            block.losses[:] = 0

        self.workers.each(self.blocks, train)
        self.set("updates", number + parts - 1)
        if self.keeps_sample and first_epoch:
            self._keep(batch)

    def _taken(self, batch: Batch) -> NDArray[np.float32] | None:
        """(d,), what is taken off rows before they are multiplied, where means are far from 0; None: nothing."""
        if isinstance(batch.features, SparseRows) or not self._far.any():
            return None
        return np.where(self._far, self.scales.shift, 0).astype(np.float32)

    def _refold(self, taken: NDArray[np.float32] | None) -> None:
        self._weights[...] = self._folded32(self.stacks["values"], taken)

    def _folded32(self, values: NDArray[np.float32], taken: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """What rows are multiplied by, (blocks, (d + 1) * width), if `taken` is taken off them before."""
        folded = self.folded(values)
        if taken is not None:
            folded[:, self.d] += np.einsum("j,bjq->bq", taken.astype(np.float64), folded[:, : self.d])
        return folded.astype(np.float32).reshape(self.blocks, -1)

    def _steps(self) -> Steps:
        parameters = self.parameters
        optimizer = "adam" if parameters.optimizer == "auto" else parameters.optimizer

        def of(value: Any, auto: float) -> float:
            return auto if value == "auto" else float(value)

        decay = {"adam": of(parameters.beta_1, 0.9), "sgd": of(parameters.momentum, 0.9), "rmsprop": 0.0}[optimizer]
        multiplier, factor, every = 1.0, 0.0, 1
        if parameters.use_lr_scheduler:
            factor = of(parameters.lr_scheduler_factor, LAST_DECAY ** (1 / parameters.epochs))
            if parameters.lr_scheduler_step == "auto":
                multiplier, factor = factor ** self.get("epochs"), 0.0
            else:
                every = parameters.lr_scheduler_step
        return Steps(
            decay=decay,
            take=1 - decay if optimizer == "adam" else 1.0,
            decay_second=of(parameters.beta_2, 0.999) if optimizer == "adam" else 0.9,
            adaptive=self.adaptive,
            corrected=optimizer == "adam",
            bias_rate=of(parameters.bias_lr_mult, 1.0) if parameters.use_bias else 0.0,
            bias_wd=of(parameters.bias_wd_mult, 0.0),
            multiplier=multiplier,
            factor=factor,
            every=every,
            averaging=AVERAGING,
        )

    def _keep(self, batch: Batch) -> None:
        """Keep every stride-th row; half of what is kept, and twice the stride, once there are too many."""
        stride = int(self.get("stride"))
        before = int(self.get("rows")) - len(batch)
        taken = batch.take(np.arange(-before % stride, len(batch), stride))
        kept = taken if self.sample is None else Batch.joined([self.sample, taken])
        while len(kept) > self.sample_rows:
            kept = kept.take(np.arange(0, len(kept), 2))
            stride *= 2
        self.sample = kept
        self.set("stride", stride)

    # Judgement

    def end_epoch(self) -> None:
        self.set("epochs", self.get("epochs") + 1)
        self.set("epoch_rows", 0)

    def train_loss(self, model: int) -> float:
        """The mean loss of the latest epoch's rows, each before it was learnt from."""
        return float(self.train_losses[model] / max(self.get("epoch_weight"), 1e-30))

    def assess(self, batches: Iterable[Batch]) -> tuple[Floats, Floats]:
        """Mean loss of every model's mean values on rows, and what it is judged by: both (models,), lower is better."""
        if not self._made:
            self._make_blocks()
        # Models that weigh classes differently are compared by a loss that weighs none.
        compared = self.parameters.positive_example_weight_mult != "auto"
        blocks = [
            block._replace(
                losses=np.zeros(WIDTH), positives=block.positives if compared else np.zeros(WIDTH, np.float32)
            )
            for block in self._made
        ]
        by_criterion = self.parameters.criterion not in (None, "loss_function") or (
            self.parameters.is_binary and not compared
        )
        scores: list[NDArray[np.float32]] = []
        labels_kept: list[NDArray[np.float32]] = []
        weights_kept: list[NDArray[np.float32]] = []
        weight = 0.0
        for batch in batches:
            labels = self.check(batch)
            weight += float(len(batch) if batch.weights is None else batch.weights.sum(dtype=np.float64))
            taken = self._taken(batch)
            features = _less(batch.features, taken)
            weights = self._folded32(self.stacks["mean"], taken)
            moved = [block._replace(weights=weights[k]) for k, block in enumerate(blocks)]
            rows = self._rows(batch, labels, weighs_classes=compared)
            self.workers.each(self.blocks, _assessor(features, self.d, rows, self.task, moved))
            if by_criterion:
                scores.append(np.stack([_scores(features, self.d, block) for block in moved], axis=1))
                labels_kept.append(labels.copy())
                if batch.weights is not None:
                    weights_kept.append(batch.weights.copy())
        losses = np.concatenate([block.losses for block in blocks])[: self.models] / max(weight, 1e-30)
        losses = np.where(np.isfinite(losses), losses, np.inf)
        if not by_criterion or not scores:
            return losses, losses.copy()
        most = self.parameters.num_calibration_samples
        z = (
            np.concatenate(scores)
            .reshape(-1, self.blocks * WIDTH)[: most if most != "auto" else None]
            .astype(np.float64)
        )
        y = np.concatenate(labels_kept)[: len(z)].astype(np.float64)
        w = np.concatenate(weights_kept)[: len(z)].astype(np.float64) if weights_kept else None
        values = [
            choose_cut(self.parameters, Cuts.of(z[:, model], y, w))[1] if np.isfinite(losses[model]) else -np.inf
            for model in range(self.models)
        ]
        # Of models that do equally well, the one with the lower loss.
        return losses, 1 - np.array(values) + 1e-6 * losses

    def note(self, keys: Floats, epoch: int) -> None:
        """Remember the mean values of models that were never judged better."""
        better = keys < self.keys
        self.keys = np.where(better, keys, self.keys)
        self.best_epochs = np.where(better, epoch, self.best_epochs)
        shape = (self.blocks, self.d + 1, self.width)
        entries = self._per_entry(lambda model: float(better[model])) > 0
        best, mean = self.stacks["best"].reshape(shape), self.stacks["mean"].reshape(shape)
        np.copyto(best, mean, where=entries[:, None])
        # What L1 has brought to 0 is 0, though the mean still remembers its beginning.
        sparse = entries & (self._per_entry(lambda model: self.settings[model].l1) > 0)
        gone = sparse[:, None] & (self.stacks["values"].reshape(shape) == 0)
        best[:, : self.d][gone[:, : self.d]] = 0

    def has_stalled(self) -> bool:
        """Whether no model that may still become the best has gained in early_stopping_patience epochs.

        Told once an epoch, after note. Each model has a patience of its own: fast ones are good, by luck or not, when
        slow ones have just begun.
        """
        known = np.isfinite(self.references)
        reference = np.where(known, self.references, 0)
        gain = np.where(known, reference - self.keys, np.inf)
        gained = np.isfinite(self.keys) & (gain > self.parameters.early_stopping_tolerance * np.abs(reference))
        self.references = np.where(gained, self.keys, self.references)
        self.waits = np.where(gained, 0, self.waits + 1)
        best = float(self.keys.min())
        near = self.keys <= best + CLOSE_BY * abs(best)
        return bool((self.waits[near] >= self.parameters.early_stopping_patience).all())

    @property
    def chosen(self) -> int:
        """The best model so far."""
        return int(np.argmin(self.keys))

    def weights_of(self, model: int, stack: str = "best") -> tuple[Floats, Floats]:
        """Weights (classes, d) and biases (classes,) of a model, for rows and labels as they come."""
        folded = self.folded(self.stacks[stack])
        if self.by_class:
            entries = folded[0][:, : self.parameters.classes]
        else:
            block, lane = divmod(model, WIDTH)
            entries = folded[block][:, lane::WIDTH]
        scale = self.scales.label_scale
        return entries[: self.d].T * scale, entries[self.d] * scale + self.scales.label_mean

    # What every state has

    def merge(self, other: Self) -> None:
        """Average the parameters of both, each by the rows it has seen, as in distributed SGD with averaging.

        Weights are averaged as they are for rows as they come, since each state has scales of its own; then they are
        put into common scales. Moments are averaged as they are.
        Source: Zinkevich et al., "Parallelized Stochastic Gradient Descent", NIPS 2010, algorithm 3.
        """
        if not other.get("ready"):
            return
        if not self.get("ready"):
            self.restore(other.arrays())
            return
        mine, theirs = self.get("rows"), other.get("rows")
        share = theirs / max(mine + theirs, 1)
        plain = {}
        for name in ("values", "mean", "best"):
            both = []
            for state in (self, other):
                folded = state.folded(state.stacks[name]) * state.scales.label_scale
                folded[:, self.d] += state.scales.label_mean
                both.append(folded)
            plain[name] = (1 - share) * both[0] + share * both[1]
        for name in set(self.stacks) - set(plain):
            self.stacks[name] += np.float32(share) * (other.stacks[name] - self.stacks[name])
        self.scales.merge(other.scales)
        for name, weights in plain.items():
            weights[:, self.d] -= self.scales.label_mean
            made = self.scales.unfolded(weights / self.scales.label_scale)
            dead = ~self.alive
            made[:, self.d] = np.where(dead, float(MASKED) if self.by_class else 0, made[:, self.d])
            self.stacks[name][...] = made.reshape(self.blocks, -1)
        self.classes += other.classes
        for name in ("rows", "epoch_rows", "weight", "epoch_weight"):
            self.set(name, self.get(name) + other.get(name))
        self.set("updates", max(self.get("updates"), other.get("updates")))
        self.train_losses += other.train_losses
        if other.sample is not None:
            stride = max(self.get("stride"), other.get("stride"))
            parts = [
                state.sample.take(np.arange(0, len(state.sample), int(stride / state.get("stride"))))
                for state in (self, other)
                if state.sample is not None
            ]
            self.sample = Batch.joined(parts)
            self.set("stride", stride)
            while len(self.sample) > self.sample_rows:
                self.sample = self.sample.take(np.arange(0, len(self.sample), 2))
                self.set("stride", self.get("stride") * 2)
        self._made = []

    def arrays(self) -> dict[str, NDArray[Any]]:
        made: dict[str, NDArray[Any]] = {f"stack_{name}": stack for name, stack in self.stacks.items()}
        made |= {"scaler": self.scales.table, "classes": self.classes, "counts": self.counts, "keys": self.keys}
        made |= {"train_losses": self.train_losses, "best_epochs": self.best_epochs}
        made |= {"references": self.references, "waits": self.waits}
        sample = self.sample
        if sample is not None:
            if isinstance(sample.features, SparseRows):
                made |= {"sample_starts": sample.features.starts, "sample_columns": sample.features.columns}
                made |= {"sample_values": sample.features.values}
            else:
                made["sample_values"] = sample.features
            if sample.labels is not None:
                made["sample_labels"] = sample.labels
            if sample.weights is not None:
                made["sample_weights"] = sample.weights
        return made

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        own = self.arrays()
        found = {name: np.array(arrays[name]) for name in own if not name.startswith("sample_")}
        for name, array in found.items():
            if array.shape != own[name].shape or array.dtype != own[name].dtype:
                raise ValueError(f"{name} is of another state")
        for name in self.stacks:
            self.stacks[name][...] = found[f"stack_{name}"]
        self.scales.table, self.classes, self.counts = found["scaler"], found["classes"], found["counts"]
        self.keys, self.train_losses, self.best_epochs = found["keys"], found["train_losses"], found["best_epochs"]
        self.references, self.waits = found["references"], found["waits"]
        self.sample = None
        if "sample_values" in arrays:
            values = np.array(arrays["sample_values"])
            features: Any = values
            if "sample_starts" in arrays:
                starts, columns = np.array(arrays["sample_starts"]), np.array(arrays["sample_columns"])
                features = SparseRows(starts, columns, values, self.d)
            count = len(features)
            weights = np.array(arrays["sample_weights"]) if "sample_weights" in arrays else None
            nowhere = Origin(["a sample of train"], np.zeros(count, np.int32), np.zeros(count, np.int64))
            self.sample = Batch(features, np.array(arrays["sample_labels"]), weights, nowhere)
        self._made = []


def _less(
    features: NDArray[np.float32] | SparseRows, taken: NDArray[np.float32] | None
) -> NDArray[np.float32] | SparseRows:
    return features if taken is None or isinstance(features, SparseRows) else features - taken


def _assessor(
    features: NDArray[np.float32] | SparseRows, d: int, rows: Rows, task: Task, blocks: list[Block]
) -> Callable[[int], None]:
    def assess(k: int) -> None:
        if isinstance(features, SparseRows):
            kernels.assess_sparse(
                features.starts, features.columns, features.values, len(features), d, rows, ASSESSED_ROWS, task,
                blocks[k],
            )  # fmt: skip
        else:
            flat = np.ascontiguousarray(features).reshape(-1)
            kernels.assess(flat, len(features), d, rows, ASSESSED_ROWS, task, blocks[k])

    return assess


def _scores(features: NDArray[np.float32] | SparseRows, d: int, block: Block) -> NDArray[np.float32]:
    """Scores of rows by a block of models of two classes, float32 (n, 16)."""
    out = aligned(len(features) * WIDTH)
    if isinstance(features, SparseRows):
        kernels.multiply_sparse(
            features.starts, features.columns, features.values, 0, len(features), d, block.weights, WIDTH, out
        )
    else:
        kernels.multiply(np.ascontiguousarray(features).reshape(-1), 0, len(features), d, block.weights, WIDTH, out)
    return out.reshape(-1, WIDTH)
