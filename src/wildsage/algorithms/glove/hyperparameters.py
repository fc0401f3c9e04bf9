"""GloVe's hyperparameters. The managed service has no GloVe: names are BlazingText's, defaults the paper's."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wildsage.contract.hyperparameters import Auto, Hyperparameters

LARGEST = 2**31 - 1

Whole = Annotated[int, Field(ge=1, le=LARGEST)]


class GloveHyperparameters(Hyperparameters):
    """Values arrive as strings."""

    vector_dim: int = Field(100, ge=1, le=1 << 24, description="size of the vectors")
    epochs: Whole = Field(25, description="passes over the counts; the most, with early_stopping")
    learning_rate: float = Field(0.05, gt=0, allow_inf_nan=False, description="AdaGrad's step size at the beginning")
    window_size: int = Field(10, ge=1, le=1000, description="words on each side of a word that are counted with it")
    min_count: int = Field(5, ge=0, le=LARGEST, description="drop words seen fewer times than this")
    x_max: float = Field(
        100, gt=0, allow_inf_nan=False, description="counts from this on have full weight, smaller ones less"
    )
    alpha: float = Field(
        0.75, ge=0, le=1, description="how weight falls with smaller counts: (count / x_max) to this power"
    )
    symmetric: bool = Field(True, description="count words on both sides of a word; otherwise those on the left alone")
    early_stopping: bool = Field(
        False,
        description="stop when the cost has fallen by less than early_stopping_tolerance in each of patience epochs",
    )
    early_stopping_tolerance: float = Field(
        0.001, ge=0, lt=1, description="share by which an epoch's cost must be lower than that of the one before"
    )
    patience: Whole = Field(4, description="epochs without such a fall tolerated before stopping; with early_stopping")
    min_epochs: Whole = Field(5, description="epochs that always run before early stopping may act")
    evaluation: bool = Field(True, description="score the vectors on the sets of word pairs in channel evaluation")
    memory_limit: Annotated[int, Field(ge=16, le=LARGEST)] | Auto = Field(
        "auto",
        description="MB of memory to count in; more counts lie in files in TMPDIR; auto is a quarter of what is free, "
        "up to 1024",
    )
    seed: int = Field(0, ge=0, le=LARGEST, description="start of the random numbers; equal seeds give equal models")
    deterministic: bool = Field(
        True, description="the same model each time with the same seed; here any number of threads gives it, always"
    )

    def notes(self) -> list[str]:
        """What the user set that has no effect: accepted, but worth a word."""
        notes = []
        if not self.early_stopping:
            names = ("patience", "min_epochs", "early_stopping_tolerance")
            notes = [f"{name} has no effect without early_stopping" for name in names if name in self.model_fields_set]
        if not self.deterministic:
            notes.append("deterministic = False has no effect: threads never meet in a row, so results are the same")
        return notes
