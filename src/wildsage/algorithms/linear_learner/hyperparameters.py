"""Linear Learner's hyperparameters: names, ranges and defaults of the contract."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wildsage.contract.hyperparameters import Auto, Hyperparameters

LARGEST = 2**31 - 1

Whole = Annotated[int, Field(ge=1, le=LARGEST)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]

# The first of each is what "auto" means.
LOSSES = {
    "regressor": (
        "squared_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss",
        "quantile_loss", "huber_loss",
    ),
    "binary_classifier": ("logistic", "hinge_loss"),
    "multiclass_classifier": ("softmax_loss",),
}  # fmt: skip


class LinearLearnerHyperparameters(Hyperparameters):
    """Values arrive as strings."""

    num_classes: Annotated[int, Field(ge=3, le=1_000_000)] | None = Field(
        None, description="number of classes, labels 0 to num_classes - 1; for multiclass_classifier only"
    )
    predictor_type: Literal["binary_classifier", "multiclass_classifier", "regressor"] = Field(
        description="what is predicted"
    )
    accuracy_top_k: Whole = Field(3, description="k of the top-k accuracy")
    balance_multiclass_weights: bool = Field(False, description="weigh classes so that each counts the same")
    beta_1: Share | Auto = Field("auto", description="decay of adam's first moment; auto is 0.9")
    beta_2: Share | Auto = Field("auto", description="decay of adam's second moment; auto is 0.999")
    bias_lr_mult: Positive | Auto = Field(
        "auto", description="the bias's step size as a multiple of learning_rate; auto is 1"
    )
    bias_wd_mult: NotNegative | Auto = Field("auto", description="the bias's L2 penalty as a multiple of wd; auto is 0")
    binary_classifier_model_selection_criteria: Literal[
        "accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision", "loss_function"
    ] = Field(
        "accuracy",
        description="what picks the threshold on validation (or a sample of train), and, if given, the model; "
        "else the loss picks the model",
    )
    early_stopping_patience: Whole = Field(
        3, description="epochs without gain before training ends; above epochs turns that off"
    )
    early_stopping_tolerance: Positive = Field(
        0.001, description="share of the loss below which an epoch's gain is none"
    )
    epochs: Whole = Field(15, description="most passes over the data")
    f_beta: Positive = Field(1.0, description="beta of the F score")
    feature_dim: Whole | Auto = Field("auto", description="number of features; auto finds it in the data")
    huber_delta: Positive = Field(
        1.0, description="error at which huber_loss turns from squares to absolutes, on the label as it is normalised"
    )
    init_bias: float = Field(0, allow_inf_nan=False, description="bias at the beginning")
    init_method: Literal["uniform", "normal"] = Field(
        "uniform", description="weights at the beginning: from -init_scale to init_scale, or normal by init_sigma"
    )
    init_scale: Positive = Field(0.07, description="half width of the uniform beginning")
    init_sigma: Positive = Field(0.01, description="standard deviation of the normal beginning")
    l1: NotNegative | Auto = Field("auto", description="L1 penalty, 0 for none; auto is 0")
    learning_rate: Positive | Auto = Field(
        "auto", description="step size; auto tries several side by side, each the better for some data"
    )
    loss: Literal[
        "auto", "logistic", "squared_loss", "absolute_loss", "hinge_loss", "eps_insensitive_squared_loss",
        "eps_insensitive_absolute_loss", "quantile_loss", "huber_loss", "softmax_loss",
    ] = Field(
        "auto", description="auto is logistic, softmax_loss or squared_loss, by predictor_type"
    )  # fmt: skip
    loss_insensitivity: Positive = Field(
        0.01, description="error below which eps_insensitive losses are 0, on the label as it is normalised"
    )
    lr_scheduler_factor: Annotated[float, Field(gt=0, lt=1)] | Auto = Field(
        "auto", description="what the step size is multiplied by every lr_scheduler_step"
    )
    lr_scheduler_minimum_lr: Positive | Auto = Field("auto", description="smallest step size")
    lr_scheduler_step: Whole | Auto = Field("auto", description="updates between two decreases; auto is an epoch")
    margin: Positive = Field(1.0, description="margin of hinge_loss")
    mini_batch_size: Whole = Field(
        1000, description="rows of an update; if it is not given, fewer where the data has below 100,000 rows"
    )
    momentum: Share | Auto = Field("auto", description="sgd's momentum; auto is 0.9")
    normalize_data: bool | Auto = Field(True, description="scale features to a variance of 1")
    normalize_label: bool | Auto = Field(
        "auto", description="scale the label to a variance of 1; auto is so for regression, classes are never scaled"
    )
    num_calibration_samples: Whole | Auto = Field(
        "auto", description="most validation rows that the threshold is found on; auto is 10,000,000"
    )
    num_models: Whole | Auto = Field(
        "auto", description="models trained side by side; auto is 32, less where there are many classes"
    )
    num_point_for_scaler: Whole = Field(10000, description="rows at the beginning that means and scales come from")
    optimizer: Literal["auto", "sgd", "adam", "rmsprop"] = Field("auto", description="auto is adam")
    positive_example_weight_mult: Positive | Literal["balanced", "auto"] = Field(
        1.0,
        description="weight of positive rows, those of label 1; balanced: both classes count the same; "
        "auto: some models so and some not, the best stays",
    )
    quantile: Annotated[float, Field(gt=0, lt=1)] = Field(0.5, description="quantile that quantile_loss predicts")
    target_precision: Share = Field(0.8, description="precision that recall_at_target_precision keeps")
    target_recall: Share = Field(0.8, description="recall that precision_at_target_recall keeps")
    unbias_data: bool | Auto = Field("auto", description="shift features to a mean of 0; auto is as use_bias")
    unbias_label: bool | Auto = Field(
        "auto", description="shift the label to a mean of 0; auto is so for regression with use_bias"
    )
    use_bias: bool = Field(True, description="learn a bias")
    use_lr_scheduler: bool = Field(True, description="lower the step size as time goes on")
    wd: NotNegative | Auto = Field("auto", description="L2 penalty, 0 for none; auto tries several side by side")
    seed: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="start of the random numbers; equal seeds give equal models",
        json_schema_extra={"beyond_contract": True},
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        allowed = LOSSES[self.predictor_type]
        if self.loss not in ("auto", *allowed):
            problems.append(
                f'loss = "{self.loss}" is not allowed: with predictor_type = {self.predictor_type} one of auto, '
                + ", ".join(allowed)
            )
        if self.predictor_type == "multiclass_classifier" and self.num_classes is None:
            problems.append(
                "num_classes is missing: an integer, 3 or more, with predictor_type = multiclass_classifier"
            )
        problems += [
            f"{name} = 1 is not allowed: a number, 0 or more and below 1"
            for name in ("beta_1", "beta_2", "momentum")
            if getattr(self, name) == 1
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @property
    def loss_function(self) -> str:
        """The loss, "auto" resolved."""
        return LOSSES[self.predictor_type][0] if self.loss == "auto" else self.loss

    @property
    def is_regressor(self) -> bool:
        return self.predictor_type == "regressor"

    @property
    def is_binary(self) -> bool:
        return self.predictor_type == "binary_classifier"

    @property
    def classes(self) -> int:
        """Scores of a row: one, or one a class."""
        return self.num_classes or 0 if self.predictor_type == "multiclass_classifier" else 1

    @property
    def criterion(self) -> str | None:
        """What picks the model among those trained, if it was given; else the loss does."""
        name = "binary_classifier_model_selection_criteria"
        given = self.is_binary and name in self.model_fields_set
        return self.binary_classifier_model_selection_criteria if given else None

    def notes(self) -> list[str]:
        """What the user set that has no effect: accepted, but worth a word."""
        only = {
            "num_classes": self.predictor_type == "multiclass_classifier",
            "accuracy_top_k": self.predictor_type == "multiclass_classifier",
            "balance_multiclass_weights": self.predictor_type == "multiclass_classifier",
            "positive_example_weight_mult": self.is_binary,
            "binary_classifier_model_selection_criteria": self.is_binary,
            "f_beta": not self.is_regressor,
            "huber_delta": self.loss_function == "huber_loss",
            "quantile": self.loss_function == "quantile_loss",
            "loss_insensitivity": self.loss_function.startswith("eps_"),
            "margin": self.loss_function == "hinge_loss",
            "momentum": self.optimizer == "sgd",
            "beta_1": self.optimizer in ("auto", "adam"),
            "beta_2": self.optimizer in ("auto", "adam"),
            "init_sigma": self.init_method == "normal",
            "init_scale": self.init_method == "uniform",
            "lr_scheduler_factor": self.use_lr_scheduler,
            "lr_scheduler_step": self.use_lr_scheduler,
            "lr_scheduler_minimum_lr": self.use_lr_scheduler,
            "target_recall": self.criterion == "precision_at_target_recall",
            "target_precision": self.criterion == "recall_at_target_precision",
            "unbias_label": self.is_regressor and self.use_bias,
            "normalize_label": self.is_regressor,
        }
        return [f"{name} has no effect here" for name in only if name in self.model_fields_set and not only[name]]
