"""Random cut forest's hyperparameters: SageMaker's names, ranges and defaults, and some of our own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from wildsage.contract.hyperparameters import Auto, Hyperparameters

LARGEST = 2**31 - 1
OURS: dict[str, Any] = {"beyond_contract": True}


class RandomCutForestHyperparameters(Hyperparameters):
    """Values arrive as strings."""

    container_only = frozenset({"mini_batch_size"})

    feature_dim: Annotated[int, Field(ge=1, le=10000)] | Auto = Field(
        "auto", description="number of features; the SDK estimator fills it in"
    )
    eval_metrics: list[Literal["accuracy", "precision_recall_fscore"]] = Field(
        ["accuracy", "precision_recall_fscore"], description="metrics for a labelled test channel"
    )
    num_samples_per_tree: int = Field(
        256, ge=1, le=2048, description="random rows per tree; about 1/anomaly share is a good choice"
    )
    num_trees: int = Field(100, ge=50, le=1000, description="trees in the forest")
    seed: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="start of the random numbers; equal seeds give equal models",
        json_schema_extra=OURS,
    )
    shingle_size: int = Field(
        1,
        ge=1,
        le=10000,
        description="consecutive rows that are seen as one: for series, in order of time, such as a day's or a week's",
        json_schema_extra=OURS,
    )
    time_decay: float = Field(
        0,
        ge=0,
        le=1,
        description="how fast older rows leave the samples: a row's weight falls by this share with each later row; "
        "0 keeps all alike",
        json_schema_extra=OURS,
    )
    stream_scores: bool = Field(
        False,
        description="score each row of train before the forest learns it, into scores.csv of the output data",
        json_schema_extra=OURS,
    )
    scale_floor: float = Field(
        0.001,
        ge=0,
        le=1,
        description="share of a constant column's value by which a row may differ from it unnoticed",
        json_schema_extra=OURS,
    )
