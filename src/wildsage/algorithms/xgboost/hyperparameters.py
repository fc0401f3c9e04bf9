"""XGBoost's hyperparameters: the published names, ranges and defaults, and what they are in today's library."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from wildsage.contract.errors import ClientError
from wildsage.contract.files import parse_json
from wildsage.contract.hyperparameters import Hyperparameters

if TYPE_CHECKING:
    from collections.abc import Mapping

MAXIMISED = (
    "accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg", "precision",
    "precision_macro", "precision_micro", "r2", "recall", "recall_macro", "recall_micro",
)  # fmt: skip
MINIMISED = (
    "aft-nloglik", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik", "interval-regression-accuracy", "logloss",
    "mae", "mape", "merror", "mlogloss", "mphe", "mse", "poisson-nloglik", "rmse", "rmsle", "tweedie-nloglik",
)  # fmt: skip
METRICS = (*MAXIMISED, *MINIMISED)
# What the library does not know; the service computes these itself, and so does metrics.py.
CLASSIFICATION = (
    "accuracy", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "precision", "precision_macro", "precision_micro",
    "recall", "recall_macro", "recall_micro",
)  # fmt: skip
OF_TWO_CLASSES = ("f1_binary", "precision", "recall")
OURS = (*CLASSIFICATION, "mse", "r2")
WITH_A_NUMBER = ("error", "ndcg", "map")

MULTICLASS = ("multi:softmax", "multi:softprob")
LOGISTIC = ("binary:logistic", "binary:logitraw", "reg:logistic")
TREE_UPDATERS = (
    "grow_colmaker", "distcol", "grow_histmaker", "grow_skmaker", "grow_quantile_histmaker", "sync", "refresh", "prune",
)  # fmt: skip
LINEAR_UPDATERS = ("shotgun", "coord_descent")
UPDATERS = (*TREE_UPDATERS, *LINEAR_UPDATERS)
RENAMED_UPDATERS = {"distcol": "grow_colmaker", "grow_skmaker": "grow_histmaker"}  # gone from the library
SEEDS = 2**31

# What the library takes under the same name and as it is.
PASSED = (
    "alpha", "aft_loss_distribution", "aft_loss_distribution_scale", "base_score", "booster", "colsample_bylevel",
    "colsample_bynode", "colsample_bytree", "eta", "gamma", "grow_policy", "interaction_constraints",
    "lambda_bias", "max_bin", "max_delta_step", "max_depth", "max_leaves", "min_child_weight", "monotone_constraints",
    "normalize_type", "num_class", "num_parallel_tree", "one_drop", "process_type", "rate_drop", "refresh_leaf",
    "sample_type", "sampling_method", "scale_pos_weight", "seed", "skip_drop", "subsample", "tweedie_variance_power",
)  # fmt: skip
# What the library has dropped, and why that does no harm.
DROPPED = {
    "deterministic_histogram": "histograms on a GPU are always the same",
    "dsplit": "data is dealt out by rows",
    "predictor": "the library answers on the device that it trains on",
    "prob_buffer_row": "the library no longer has it",
    "single_precision_histogram": "the library chooses the precision of its histograms",
    "use_dask_gpu_training": "one GPU is used",
}

Share = Annotated[float, Field(gt=0, le=1)]
Chance = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Flag = Literal[0, 1]
Switch = Literal["true", "false"]


def _words(value: Any) -> Any:
    """A list of names as text with commas, however it arrived: "auc,error", ["auc", "error"], or that as JSON."""
    if isinstance(value, str) and value.strip().startswith("["):
        value = parse_json(value)
    if isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        value = ",".join(value)
    if not isinstance(value, str):
        return value
    words = [word.strip() for word in value.split(",")]
    if not all(words):
        raise ValueError("names with commas between, none of them empty")
    return ",".join(dict.fromkeys(words))


def _metrics(value: Any) -> Any:
    value = _words(value)
    for word in value.split(",") if isinstance(value, str) else ():
        name, at, number = word.partition("@")
        if at and name not in WITH_A_NUMBER:
            raise ValueError(f"only {', '.join(WITH_A_NUMBER)} take a number behind @, not {name}")
        if at and not re.fullmatch(r"\d*\.?\d+-?", number):
            raise ValueError(f"a number must follow {name}@")
        if name not in METRICS:
            raise ValueError(f"{word} is no metric: a list of {', '.join(METRICS)}")
    return value


def _updaters(value: Any) -> Any:
    value = _words(value)
    for word in value.split(",") if isinstance(value, str) else ():
        if word not in UPDATERS:
            raise ValueError(f"{word} is no updater: a list of {', '.join(UPDATERS)}")
    return value


def _directions(value: Any) -> Any:
    """Constraints as the library reads them: "(1,0,-1)"."""
    numbers = value
    if isinstance(value, str):
        inner = value.strip()
        if inner[:1] + inner[-1:] not in ("()", "[]"):
            raise ValueError("a list of -1, 0, 1 in parentheses, such as (1, 0, -1)")
        numbers = [part.strip() for part in inner[1:-1].split(",") if part.strip()]
    if not isinstance(numbers, list | tuple) or not numbers or any(str(n) not in ("-1", "0", "1") for n in numbers):
        raise ValueError("a list of -1, 0, 1, one for each feature, such as (1, 0, -1)")
    return f"({','.join(map(str, numbers))})"


def _groups(value: Any) -> Any:
    if isinstance(value, list) and all(
        isinstance(group, list) and group and all(type(number) is int and number >= 0 for number in group)
        for group in value
    ):
        return value
    raise ValueError("lists of features by their numbers, from 0, such as [[0, 1], [2, 3, 4]]")


def _list(kind: str, choices: tuple[Any, ...], *special: str) -> dict[str, Any]:
    return {"type": kind, "choices": list(choices)} | ({"special_values": list(special)} if special else {})


def _for(*what: str) -> dict[str, Any]:
    return {"applies_to": list(what)}


class XGBoostHyperparameters(Hyperparameters):
    """Values arrive as strings. What is not set is left to the library, whose defaults these are."""

    num_round: int = Field(ge=1, description="number of boosting rounds")
    num_class: Annotated[int, Field(ge=2)] | None = Field(None, description="number of classes")
    alpha: Penalty = Field(
        0, validation_alias=AliasChoices("alpha", "reg_alpha"), description="L1 penalty on leaf weights"
    )
    base_score: Penalty = Field(0.5, description="initial prediction for every row; found from the labels if not set")
    booster: Literal["gbtree", "gblinear", "dart"] = Field("gbtree", description="base learner")
    colsample_bylevel: Share = Field(1, description="share of columns drawn per tree level")
    colsample_bynode: Share = Field(1, description="share of columns drawn per split")
    colsample_bytree: Share = Field(1, description="share of columns drawn per tree")
    csv_weights: Flag = Field(0, description="1: second CSV column holds the instance weight")
    deterministic_histogram: Switch = Field(
        "true", description="build GPU histograms deterministically", json_schema_extra=_for("tree_method gpu_hist")
    )
    early_stopping_rounds: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="stop when the validation metric has not improved for this many rounds; the best round is kept",
    )
    eta: Chance = Field(
        0.3,
        validation_alias=AliasChoices("eta", "learning_rate"),
        description="shrinkage applied after each round",
    )
    eval_metric: Annotated[str | None, BeforeValidator(_metrics)] = Field(
        None,
        description="metrics computed on training and validation data",
        json_schema_extra=_list("comma_list", METRICS, "error@t", "ndcg@n", "map@n"),
    )
    gamma: Penalty = Field(
        0,
        validation_alias=AliasChoices("gamma", "min_split_loss"),
        description="least loss reduction for a further split",
    )
    grow_policy: Literal["depthwise", "lossguide"] = Field(
        "depthwise", description="how new nodes are added", json_schema_extra=_for("tree_method hist")
    )
    interaction_constraints: Annotated[Any, BeforeValidator(_groups)] = Field(
        None,
        description="groups of feature indices allowed to interact, nested list such as [[1,2],[3,4,5]]",
        json_schema_extra={"type": "json", **_for("tree_method exact, hist or approx")},
    )
    lambda_: Penalty = Field(
        1, validation_alias=AliasChoices("lambda", "reg_lambda"), description="L2 penalty on leaf weights"
    )
    lambda_bias: Chance = Field(0, description="L2 penalty on the bias", json_schema_extra=_for("booster gblinear"))
    max_bin: int = Field(
        256, ge=0, description="most histogram bins per feature", json_schema_extra=_for("tree_method hist")
    )
    max_delta_step: Penalty = Field(0, description="cap on each leaf output, helps unbalanced logistic problems")
    max_depth: int = Field(6, ge=0, description="deepest tree level, 0 means no limit")
    max_leaves: int = Field(
        0, ge=0, description="most leaves per tree", json_schema_extra=_for("grow_policy lossguide")
    )
    min_child_weight: Penalty = Field(1, description="least hessian sum in a child")
    monotone_constraints: Annotated[str, BeforeValidator(_directions)] = Field(
        "(0, 0)",
        description="per-feature direction: -1, 0 or 1",
        json_schema_extra={**_list("tuple", (-1, 0, 1)), **_for("tree_method exact or hist")},
    )
    normalize_type: Literal["tree", "forest"] = Field(
        "tree", description="dart weight normalization", json_schema_extra=_for("booster dart")
    )
    nthread: Annotated[int, Field(ge=1)] | None = Field(None, description="threads used; all cores when unset")
    objective: Literal[
        "reg:squarederror", "reg:linear", "reg:logistic", "reg:squaredlogerror", "reg:pseudohubererror",
        "reg:absoluteerror", "reg:gamma", "reg:tweedie", "binary:logistic", "binary:logitraw", "binary:hinge",
        "count:poisson", "multi:softmax", "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map", "survival:aft",
        "survival:cox",
    ] = Field("reg:squarederror", description="learning task")  # fmt: skip
    one_drop: Flag = Field(0, description="1: always drop at least one tree", json_schema_extra=_for("booster dart"))
    process_type: Literal["default", "update"] = Field("default", description="build new trees or update given ones")
    rate_drop: Chance = Field(0.0, description="share of earlier trees dropped", json_schema_extra=_for("booster dart"))
    refresh_leaf: Flag = Field(
        1,
        description="1: refresh leaves and node stats, 0: only node stats",
        json_schema_extra=_for("updater refresh"),
    )
    sample_type: Literal["uniform", "weighted"] = Field(
        "uniform", description="how dropped trees are drawn", json_schema_extra=_for("booster dart")
    )
    scale_pos_weight: float = Field(1, gt=0, allow_inf_nan=False, description="weight of positives against negatives")
    seed: int = Field(0, description="random seed")
    single_precision_histogram: Switch = Field(
        "false",
        description="single precision histograms",
        json_schema_extra=_for("tree_method hist or gpu_hist"),
    )
    sketch_eps: float = Field(
        0.03,
        gt=0,
        lt=1,
        description="bin accuracy of the approx method, about 1/sketch_eps bins",
        json_schema_extra=_for("tree_method approx"),
    )
    skip_drop: Chance = Field(
        0.0, description="chance to skip dropout in a round", json_schema_extra=_for("booster dart")
    )
    subsample: Share = Field(1, description="share of rows drawn per tree")
    tree_method: Literal["auto", "exact", "approx", "hist", "gpu_hist"] = Field(
        "auto", description="tree construction method"
    )
    tweedie_variance_power: float = Field(
        1.5,
        gt=1,
        lt=2,
        description="variance power of the Tweedie loss",
        json_schema_extra=_for("objective reg:tweedie"),
    )
    updater: Annotated[str, BeforeValidator(_updaters)] = Field(
        "grow_colmaker,prune",
        description="tree updaters run in order",
        json_schema_extra=_list("comma_list", UPDATERS),
    )
    verbosity: Literal[0, 1, 2, 3] = Field(1, description="0 silent, 1 warning, 2 info, 3 debug")
    # What the service takes beside its documentation.
    silent: Flag = Field(0, description="1 silences output; of version 0.72, replaced by verbosity")
    dsplit: Literal["row", "col"] | None = Field(None, description="data split for distributed training")
    predictor: Literal["auto", "cpu_predictor", "gpu_predictor"] | None = Field(None, description="prediction backend")
    num_parallel_tree: int = Field(1, ge=1, description="trees grown per round")
    sampling_method: Literal["uniform", "gradient_based"] | None = Field(None, description="row sampling on GPU")
    prob_buffer_row: Annotated[int, Field(gt=1)] | None = Field(None, description="buffer row probability")
    aft_loss_distribution: Literal["normal", "logistic", "extreme"] | None = Field(
        None, description="AFT error distribution"
    )
    aft_loss_distribution_scale: Penalty | None = Field(None, description="AFT distribution scale")
    save_model_on_termination: Switch = Field("false", description="save the model so far on SIGTERM; always so here")
    use_dask_gpu_training: Switch = Field("false", description="distributed multi-GPU training through Dask")
    kfold: Annotated[int, Field(ge=2)] | None = Field(
        None,
        validation_alias=AliasChoices("_kfold"),
        description="k-fold cross validation over train+validation; writes xgboost-model-<fold> files",
    )
    num_cv_round: int = Field(
        1, ge=1, validation_alias=AliasChoices("_num_cv_round"), description="repeats of the cross validation"
    )
    tuning_objective_metric: str | None = Field(
        None,
        validation_alias=AliasChoices("_tuning_objective_metric"),
        description="objective passed by the tuning service, e.g. validation:auc",
    )

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """As of every algorithm; a hyperparameter under two of its names at once is refused, too."""
        problems, kept = [], dict(values)
        for fact in cls.describe():
            given = [name for name in (fact.name, *fact.aliases) if name in kept]
            if len(given) > 1:
                problems.append(f"{' and '.join(given)} are two names of one hyperparameter: keep one of them")
            for name in given[1:]:
                del kept[name]
        try:
            parsed = super().parse(kept)
        except ClientError as error:
            problems += str(error).splitlines()
        if problems:
            raise ClientError("\n".join(problems))
        return parsed

    @model_validator(mode="after")
    def _together(self) -> Self:
        problems = [*self._objective_problems(), *self._metric_problems(), *self._tree_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _objective_problems(self) -> list[str]:
        found, multiclass = [], self.objective in MULTICLASS
        if multiclass and self.num_class is None:
            found.append(f"num_class is missing: objective = {self.objective} needs the number of classes, 2 or more")
        if not multiclass and self.num_class is not None:
            found.append(f"num_class = {self.num_class} is not allowed: only with {' or '.join(MULTICLASS)}")
        if self.is_set("base_score") and self.objective in LOGISTIC and not 0 < self.base_score < 1:
            found.append(f"base_score = {self.base_score} is not allowed: above 0 and below 1 with {self.objective}")
        if not -SEEDS < self.seed < SEEDS:
            found.append(f"seed = {self.seed} is not allowed: {1 - SEEDS} to {SEEDS - 1}")
        return found

    def _metric_problems(self) -> list[str]:
        found, binary = [], self.objective.startswith("binary:") or self.objective == "reg:logistic"
        multiclass = self.objective in MULTICLASS
        for metric in self.metrics():
            name = metric.partition("@")[0]
            wanted = None
            if name in CLASSIFICATION and not (binary or multiclass):
                wanted = "an objective of classes (binary: or multi:)"
            elif name in OF_TWO_CLASSES and multiclass and self.num_class != 2:
                wanted = "two classes"
            elif name in ("auc", "aucpr") and not (binary or multiclass or self.objective.startswith("rank:")):
                wanted = "an objective of classes or ranks (binary:, multi: or rank:)"
            elif name in ("merror", "mlogloss") and not multiclass:
                wanted = "objective multi:softmax or multi:softprob"
            elif name == "aft-nloglik" and self.objective != "survival:aft":
                wanted = "objective survival:aft"
            if wanted is not None:
                found.append(f"eval_metric = {metric} is not allowed: it needs {wanted}, not {self.objective}")
        return found

    def _tree_problems(self) -> list[str]:
        found = []
        if self.max_bin < 2:
            found.append(f"max_bin = {self.max_bin} is not allowed: an integer, 2 or more")
        if self.booster == "gblinear":
            found += [
                f"{name} is not allowed: booster gblinear has no trees"
                for name in ("monotone_constraints", "interaction_constraints")
                if self.is_set(name)
            ]
        names = self.updaters()
        growing = [name for name in names if name.startswith("grow_") or name == "distcol"]
        if names and self.booster == "gblinear" and (len(names) > 1 or names[0] not in LINEAR_UPDATERS):
            found.append(f"updater = {self.updater} is not allowed: one of {', '.join(LINEAR_UPDATERS)} with gblinear")
        elif names and self.process_type == "update" and not set(names) <= {"refresh", "prune"}:
            found.append(f"updater = {self.updater} is not allowed: refresh and prune with process_type update")
        elif self.booster != "gblinear" and set(names) & set(LINEAR_UPDATERS):
            found.append(f"updater = {self.updater} is not allowed: {', '.join(TREE_UPDATERS)} with trees")
        elif len(growing) > 1:
            found.append(f"updater = {self.updater} is not allowed: at most one of {', '.join(growing)}")
        if self.process_type == "update" and not names:
            found.append("updater is missing: process_type update needs refresh or prune")
        if self.process_type == "update" and self.kfold is not None:
            found.append("process_type = update is not allowed: only without _kfold")
        return found

    def is_set(self, name: str) -> bool:
        """Whether a field has a value of the user's."""
        return name in self.model_fields_set

    def metrics(self) -> list[str]:
        """The metrics asked for; the last is what early stopping acts on: that of a tuning job, if there is one."""
        asked = [] if self.eval_metric is None else self.eval_metric.split(",")
        tuned = self.tuned_metric
        return [metric for metric in asked if metric != tuned] + ([] if tuned is None else [tuned])

    @property
    def tuned_metric(self) -> str | None:
        """auc of validation:auc, of a tuning job."""
        return self.tuning_objective_metric.split(":")[-1] if self.tuning_objective_metric else None

    def updaters(self) -> list[str]:
        """The updaters asked for; none: the library's choice."""
        return self.updater.split(",") if self.is_set("updater") else []

    def parameters(self, device: str) -> dict[str, Any]:
        """What the library is told, by its names of today. device: cpu or cuda."""
        given = {name: getattr(self, name) for name in PASSED if self.is_set(name) and getattr(self, name) is not None}
        if self.is_set("lambda_"):
            given["lambda"] = self.lambda_
        given["objective"] = "reg:squarederror" if self.objective == "reg:linear" else self.objective
        if self.is_set("tree_method") and self.tree_method != "auto":
            given["tree_method"] = "hist" if self.tree_method == "gpu_hist" else self.tree_method
        if self._bins is not None:
            given["max_bin"] = self._bins
        if names := self.updaters():
            given["updater"] = ",".join(dict.fromkeys(RENAMED_UPDATERS.get(name, name) for name in names))
        metrics = self.metrics()
        if metrics:
            # Also where none is the library's: its default would be told beside those that were asked for.
            given["disable_default_eval_metric"] = 1
        if theirs := [metric for metric in metrics if metric not in OURS]:
            given["eval_metric"] = theirs
        if self.runs_on(device) != "cpu":
            given["device"] = "cuda"
        return given

    @property
    def _bins(self) -> int | None:
        """sketch_eps as max_bin, which took its place."""
        return math.ceil(1 / self.sketch_eps) if self.is_set("sketch_eps") and not self.is_set("max_bin") else None

    def runs_on(self, device: str) -> str:
        """Where trees are built: exact ones, linear models and updaters of the user's choice are the processor's."""
        fits = self.booster != "gblinear" and self.tree_method != "exact" and not self.is_set("updater")
        return device if fits else "cpu"

    @property
    def quantised(self) -> bool:
        """Whether binned data is enough: not where values themselves are looked at."""
        return (
            self.booster != "gblinear"
            and self.tree_method not in ("exact", "approx")
            and self.process_type == "default"
            and set(self.updaters()) <= {"grow_quantile_histmaker", "prune"}
        )

    @property
    def draws(self) -> bool:
        """Whether training draws at random."""
        shares = (self.subsample, self.colsample_bytree, self.colsample_bylevel, self.colsample_bynode)
        return self.booster == "dart" or min(shares) < 1

    def notes(self, device: str) -> list[str]:
        """What is otherwise today than the user says it: accepted, but worth a word."""
        notes = [
            f"{name} = {getattr(self, name)} has no effect: {why}"
            for name, why in DROPPED.items()
            if self.is_set(name) and getattr(self, name) != type(self).model_fields[name].default
        ]
        if self.objective == "reg:linear":
            notes.append("objective reg:linear is now called reg:squarederror, which is used")
        if self.tree_method == "gpu_hist":
            where = "device cuda" if device != "cpu" else "the processor, since there is no GPU to use"
            notes.append(f"tree_method gpu_hist is now called hist, which is used, on {where}")
        if device != "cpu" and self.runs_on(device) == "cpu":
            notes.append("the GPU is not used: exact trees, linear models and chosen updaters are the processor's")
        if self._bins is not None:
            notes.append(f"sketch_eps = {self.sketch_eps} is now max_bin = {self._bins}, which is used")
        notes += [
            f"updater {old} is no longer there: {new} is used"
            for old, new in RENAMED_UPDATERS.items()
            if old in self.updaters()
        ]
        if self.silent:
            notes.append("silent = 1 is now verbosity = 0, which is used")
        if self.num_cv_round > 1 and self.kfold is None:
            notes.append("_num_cv_round has no effect without _kfold")
        return notes


def is_maximised(metric: str) -> bool:
    """Whether more of a metric is better. The service takes interval-regression-accuracy for one to be minimised."""
    name = re.split(r"[@]", metric.removesuffix("-"))[0]
    return name in MAXIMISED or name in ("interval-regression-accuracy", "pre")
