"""k-NN's hyperparameters."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from wildsage.contract.hyperparameters import Auto, Hyperparameters

LARGEST = 2**31 - 1
FLAT: Final = "faiss.Flat"
IVF_FLAT: Final = "faiss.IVFFlat"
IVF_PQ: Final = "faiss.IVFPQ"
PROBES = 5  # lists of an inverted file that are looked through, as the service has it
SUBVECTORS = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)

Whole = Annotated[int, Field(ge=1, le=LARGEST)]


class KNNHyperparameters(Hyperparameters):
    """Values arrive as strings."""

    feature_dim: Whole | Auto = Field("auto", description="number of input features")
    k: Whole = Field(description="neighbors looked up per query")
    predictor_type: Literal["classifier", "regressor"] = Field(description="majority label or mean of neighbor labels")
    sample_size: Whole = Field(description="training rows sampled into the index")
    dimension_reduction_type: Literal["sign", "fjlt"] | None = Field(
        None, description="random projection (sign) or fast Johnson-Lindenstrauss (fjlt); unset means none"
    )
    dimension_reduction_target: Whole | None = Field(
        None, description="dimension after reduction; must be below feature_dim"
    )
    index_type: Literal["faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ"] = Field(
        FLAT, description="kind of index: exact, inverted file, or inverted file with product quantization"
    )
    index_metric: Literal["L2", "INNER_PRODUCT", "COSINE"] = Field("L2", description="distance used for lookups")
    faiss_index_ivf_nlists: Whole | Auto = Field(
        "auto", description="number of index centroids; auto is sqrt(sample_size)"
    )
    faiss_index_pq_m: Literal[1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96] | None = Field(
        None, description="sub-vectors for product quantization; the dimension is padded up to a multiple"
    )
    mini_batch_size: Whole = Field(5000, description="rows per mini-batch of the reader")
    seed: int = Field(
        0,
        ge=0,
        le=LARGEST,
        description="start of the random numbers; equal seeds give equal models",
        json_schema_extra={"beyond_contract": True},
    )

    @model_validator(mode="after")
    def _fit_together(self) -> KNNHyperparameters:
        problems = []
        if self.sample_size < self.k:
            problems.append(f"sample_size = {self.sample_size} is not allowed: at least k, which is {self.k}")
        if self.dimension_reduction_type is not None and self.dimension_reduction_target is None:
            problems.append(
                "dimension_reduction_target is missing: an integer, 1 or more and below feature_dim, since "
                f"dimension_reduction_type = {self.dimension_reduction_type}"
            )
        if self.dimension_reduction_type is None and self.dimension_reduction_target is not None:
            problems.append(
                "dimension_reduction_type is missing: one of sign, fjlt, since "
                f"dimension_reduction_target = {self.dimension_reduction_target}"
            )
        if self.index_type == IVF_PQ and self.index_metric != "L2":
            problems.append(f"index_metric = {self.index_metric} is not allowed: L2, since index_type = {IVF_PQ}")
        if self.feature_dim != "auto":
            problems += self.target_problems(self.feature_dim)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def target_problems(self, feature_dim: int) -> list[str]:
        """What is wrong with the dimension to reduce to, for so many features."""
        target = self.dimension_reduction_target
        if target is None or target < feature_dim:
            return []
        return [f"dimension_reduction_target = {target} is not allowed: below feature_dim, which is {feature_dim}"]

    def notes(self) -> list[str]:
        """What the user set that has no effect: accepted, but worth a word."""
        idle = []
        if self.index_type == FLAT and "faiss_index_ivf_nlists" in self.model_fields_set:
            idle.append("faiss_index_ivf_nlists")
        if self.index_type != IVF_PQ and self.faiss_index_pq_m is not None:
            idle.append("faiss_index_pq_m")
        return [f"{name} has no effect with index_type = {self.index_type}" for name in idle]

    def subvectors(self, dim: int) -> int:
        """Sub-vectors of the product quantizer; where none are asked for, about one for four numbers."""
        if self.faiss_index_pq_m is not None:
            return self.faiss_index_pq_m
        return max(count for count in SUBVECTORS if count <= max(1, dim // 4))
