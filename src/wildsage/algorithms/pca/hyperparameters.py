"""PCA's hyperparameters: the contract's names, ranges and defaults, and two of our own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from wildsage.contract.hyperparameters import Auto, Hyperparameters

LARGEST = 2**31 - 1
MOST_EXTRA = 10  # extra components that "-1" asks for, at least

Whole = Annotated[int, Field(ge=1, le=LARGEST)]


class PCAHyperparameters(Hyperparameters):
    """Values arrive as strings."""

    feature_dim: Whole | Auto = Field("auto", description="input dimension; found in the data")
    mini_batch_size: Whole | Auto = Field(
        "auto", description="rows per mini-batch; of no influence on the components, and of little on speed"
    )
    num_components: Whole = Field(description="components to compute")
    algorithm_mode: Literal["regular", "randomized"] = Field(
        "regular",
        description="regular: exact, from the covariance of all columns; randomized: approximation, for more than "
        "about 2,000 columns",
    )
    extra_components: int = Field(
        -1,
        ge=-1,
        le=LARGEST,
        description="extra components for accuracy; -1 means max(10, num_components)",
        json_schema_extra={"applies_to": ["algorithm_mode randomized"]},
    )
    subtract_mean: bool = Field(True, description="center the data in training and inference")
    epochs: Whole = Field(
        1,
        description="passes over the data; each one after the first makes randomized more exact",
        json_schema_extra={"applies_to": ["algorithm_mode randomized"], "beyond_contract": True},
    )
    seed: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="start of the random numbers; equal seeds give equal models",
        json_schema_extra={"beyond_contract": True},
    )

    @property
    def is_randomized(self) -> bool:
        return self.algorithm_mode == "randomized"

    def sketch_width(self, feature_dim: int) -> int:
        """Columns of the sketch: components and extra components, and no more than there are features."""
        extra = max(MOST_EXTRA, self.num_components) if self.extra_components < 0 else self.extra_components
        return min(feature_dim, self.num_components + extra)

    def notes(self) -> list[str]:
        """What the user set that has no effect: accepted, but worth a word."""
        if self.is_randomized:
            return []
        names = ("extra_components", "epochs", "seed")
        return [f"{name} has no effect with algorithm_mode=regular" for name in names if name in self.model_fields_set]
