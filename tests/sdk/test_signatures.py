"""What is called as SageMaker's SDK calls it takes the same arguments in the same order.

signatures.json holds the parameters of sagemaker 2.257.7's functions, by our module's names.
"""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path

import pytest

TABLE: dict[str, str] = json.loads((Path(__file__).parent / "signatures.json").read_text())

# Where the whole method is one refusal, any arguments will do.
REFUSED = {
    "estimator.EstimatorBase.register",
    "estimator.EstimatorBase.compile_model",
    "model.Model.register",
    "model.Model.compile",
    "predictor.Predictor.predict_stream",
}


def ours(name: str) -> list[inspect.Parameter]:
    module, *path = name.split(".")
    found = importlib.import_module(f"wildsage.sdk.{module}")
    for part in path:
        found = getattr(found, part)
    parameters = list(inspect.signature(found).parameters.values())
    if isinstance(found, type(Path.cwd)):  # a bound classmethod has lost its cls
        return [inspect.Parameter("cls", inspect.Parameter.POSITIONAL_OR_KEYWORD), *parameters]
    return parameters


@pytest.mark.parametrize("name", sorted(TABLE.keys() - REFUSED))
def test_leading_parameters_are_sagemakers(name: str) -> None:
    theirs = [part for part in TABLE[name].split() if part != "kwargs"]
    mine = [part.name for part in ours(name) if part.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert mine[: len(theirs)] == theirs


@pytest.mark.parametrize("name", sorted(TABLE.keys() - REFUSED))
def test_what_we_add_is_optional(name: str) -> None:
    theirs = TABLE[name].split()
    added = [part for part in ours(name) if part.name not in theirs and part.kind not in (2, 4)]
    assert [part.name for part in added if part.default is inspect.Parameter.empty] == []
