"""Rules over several hyperparameters."""

from __future__ import annotations

from typing import Any

import pytest

from wildsage.algorithms.knn.hyperparameters import KNNHyperparameters
from wildsage.contract.errors import ClientError

LEAST = {"k": "5", "sample_size": "100", "predictor_type": "classifier"}


def parse(**values: Any) -> KNNHyperparameters:
    return KNNHyperparameters.parse({**LEAST, **values})


def test_the_least_that_a_job_needs() -> None:
    assert parse().index_type == "faiss.Flat"
    with pytest.raises(ClientError) as caught:
        KNNHyperparameters.parse({})
    assert [line.split()[0] for line in str(caught.value).splitlines()] == ["k", "predictor_type", "sample_size"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"k": "101"}, "sample_size = 100 is not allowed: at least k, which is 101"),
        ({"dimension_reduction_type": "sign"}, "dimension_reduction_target is missing"),
        ({"dimension_reduction_target": "3"}, "dimension_reduction_type is missing: one of sign, fjlt"),
        (
            {"dimension_reduction_type": "fjlt", "dimension_reduction_target": "9", "feature_dim": "9"},
            "dimension_reduction_target = 9 is not allowed: below feature_dim, which is 9",
        ),
        ({"index_type": "faiss.IVFPQ", "index_metric": "COSINE"}, "index_metric = COSINE is not allowed: L2"),
    ],
)
def test_what_does_not_fit_together_is_told(values: dict[str, str], told: str) -> None:
    with pytest.raises(ClientError, match=told.replace(".", r"\.")):
        parse(**values)


def test_what_has_no_effect_is_told() -> None:
    notes = parse(faiss_index_ivf_nlists="3", faiss_index_pq_m="4").notes()
    assert notes == [
        "faiss_index_ivf_nlists has no effect with index_type = faiss.Flat",
        "faiss_index_pq_m has no effect with index_type = faiss.Flat",
    ]
    assert parse(index_type="faiss.IVFPQ", faiss_index_ivf_nlists="3", faiss_index_pq_m="4").notes() == []


@pytest.mark.parametrize(("dim", "count"), [(1, 1), (7, 1), (50, 12), (784, 96), (5000, 96)])
def test_sub_vectors_where_none_are_asked_for(dim: int, count: int) -> None:
    assert parse(index_type="faiss.IVFPQ").subvectors(dim) == count
    assert parse(index_type="faiss.IVFPQ", faiss_index_pq_m="3").subvectors(dim) == 3
