"""k-means' hyperparameters, as the contract has them, and a seed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wildsage.contract.hyperparameters import Auto, Hyperparameters

LARGEST = 2**31 - 1

Whole = Annotated[int, Field(ge=1, le=LARGEST)]
Start = Literal["random", "kmeans++"]
Score = Literal["msd", "ssd"]


class KMeansHyperparameters(Hyperparameters):
    """Values arrive as strings."""

    container_only = frozenset({"force_dense"})

    feature_dim: Whole | Auto = Field("auto", description="number of features; auto is what the first row has")
    k: int = Field(ge=1, le=LARGEST, description="clusters wanted")
    epochs: Whole = Field(1, description="passes over the data")
    eval_metrics: list[Score] = Field(
        ["msd"], description="scores to report: mean of squared distances to the nearest centre, or their sum"
    )
    extra_center_factor: Whole | Auto = Field(
        "auto", description="work with k times this many centres, then reduce to k; auto is 4, less from k = 1,000 on"
    )
    half_life_time_size: int = Field(
        0, ge=0, le=2**62, description="rows after which an observation's weight has halved; 0 means that none fades"
    )
    init_method: Start = Field("random", description="start of the centres, among the first rows")
    local_lloyd_init_method: Start = Field("kmeans++", description="start of the step that reduces the extra centres")
    local_lloyd_max_iter: Whole = Field(300, description="most iterations of that step")
    local_lloyd_num_trials: Whole | Auto = Field(
        "auto", description="runs of that step, of which the best is kept; auto is 8, less for many centres"
    )
    local_lloyd_tol: float = Field(0.0001, ge=0, le=1, description="share of the loss whose change ends that step")
    mini_batch_size: Whole = Field(5000, description="rows per mini-batch")
    seed: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="start of the random numbers; equal seeds give equal models",
        json_schema_extra={"beyond_contract": True},
    )

    @property
    def factor(self) -> int:
        """How many times k centres to work with."""
        if self.extra_center_factor != "auto":
            return self.extra_center_factor
        return next(factor for most, factor in ((1000, 4), (5000, 2), (LARGEST, 1)) if self.k <= most)
