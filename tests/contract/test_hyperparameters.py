from __future__ import annotations

import json
import math
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AliasChoices, Field, PositiveInt, field_validator

from tests.strategies import json_values
from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
from wildsage.contract.builtins import names, table
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.hyperparameters import (
    Auto,
    HyperparameterFact,
    Hyperparameters,
    read_hyperparameters,
    table_problems,
    write_hyperparameters,
)


class Method(StrEnum):
    RANDOM = "random"
    PLUS_PLUS = "kmeans++"


class SampleHyperparameters(Hyperparameters):
    """One field of each kind."""

    k: int = Field(ge=1, description="clusters wanted")
    mode: Literal["cbow", "skipgram", "supervised"] = Field("supervised", description="architecture")
    method: Method = Method.RANDOM
    depth: Literal[18, 34, 50] = 18
    rate: float = Field(0.05, gt=0, le=1)
    anything: float = 0.0
    clip: float = math.inf
    early_stopping: bool = False
    normalise: bool | Auto = "auto"
    factor: PositiveInt | Auto = "auto"
    rounds: int | None = Field(None, ge=2, le=9)
    shape: str = Field("3,224,224", pattern=r"^\d+,\d+,\d+$")
    quantiles: list[float] = Field([0.5])
    eta: float = Field(0.3, validation_alias=AliasChoices("eta", "learning_rate"))
    seed: int = Field(0, ge=0, json_schema_extra={"beyond_contract": True})

    @field_validator("shape")
    @classmethod
    def _positive(cls, value: str) -> str:
        if "0" in value.split(","):
            raise ValueError("sizes above 0")
        return value


def refused(**values: Any) -> list[str]:
    with pytest.raises(ClientError) as caught:
        SampleHyperparameters.parse({"k": "1", **values})
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("k", "10", 10),
        ("k", " 10 ", 10),
        ("k", "10.0", 10),
        ("k", "1e3", 1000),
        ("k", 10, 10),
        ("mode", "cbow", "cbow"),
        ("mode", '"cbow"', "cbow"),
        ("method", "kmeans++", Method.PLUS_PLUS),
        ("depth", "34", 34),
        ("rate", "1e-3", 0.001),
        ("rate", 1, 1.0),
        ("clip", "inf", math.inf),
        ("early_stopping", "True", True),
        ("early_stopping", "true", True),
        ("early_stopping", "False", False),
        ("early_stopping", "false", False),
        ("early_stopping", True, True),
        ("normalise", "auto", "auto"),
        ("normalise", "false", False),
        ("factor", "auto", "auto"),
        ("factor", "3", 3),
        ("rounds", "2", 2),
        ("shape", "1,2,3", "1,2,3"),
        ("quantiles", "[0.1, 0.9]", [0.1, 0.9]),
        ("eta", "0.5", 0.5),
    ],
)
def test_values_arrive_as_text_or_native_json(name: str, value: Any, parsed: Any) -> None:
    found = getattr(SampleHyperparameters.parse({"k": "1", name: value}), name)
    assert (found, type(found)) == (parsed, type(parsed))


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("k", "0", "k = 0 is not allowed: an integer, 1 or more"),
        ("k", "1.5", "k = 1.5 is not allowed: an integer, 1 or more"),
        ("k", "abc", 'k = "abc" is not allowed: an integer, 1 or more'),
        ("k", "", 'k = "" is not allowed: an integer, 1 or more'),
        ("k", True, "k = true is not allowed: an integer, 1 or more"),
        ("k", None, "k = null is not allowed: an integer, 1 or more"),
        ("k", "9" * 5000, "k has 5000 characters: up to 2500"),
        (
            "mode",
            "supervized",
            'mode = "supervized" is not allowed: one of cbow, skipgram, supervised; did you mean "supervised"?',
        ),
        ("mode", "Supervised", 'mode = "Supervised" is not allowed: one of cbow, skipgram, supervised; did you mean'),
        ("method", "kmeans", 'method = "kmeans" is not allowed: one of random, kmeans++; did you mean "kmeans++"?'),
        ("depth", "19", "depth = 19 is not allowed: one of 18, 34, 50"),
        ("rate", "0", "rate = 0 is not allowed: a number, above 0 and 1 or less"),
        ("rate", "nan", "rate = nan is not allowed: a number, above 0 and 1 or less"),
        ("anything", "inf", "anything = inf is not allowed: a number"),
        ("anything", math.nan, "anything = NaN is not allowed: a number"),
        ("early_stopping", "yes", 'early_stopping = "yes" is not allowed: True or False'),
        ("early_stopping", "1", "early_stopping = 1 is not allowed: True or False"),
        ("early_stopping", 1, "early_stopping = 1 is not allowed: True or False"),
        ("normalise", "maybe", 'normalise = "maybe" is not allowed: True or False, or auto'),
        ("factor", "-1", "factor = -1 is not allowed: an integer, 1 or more, or auto"),
        ("factor", "aut", 'factor = "aut" is not allowed: an integer, 1 or more, or auto; did you mean "auto"?'),
        ("rounds", "10", "rounds = 10 is not allowed: an integer, 2 to 9"),
        ("shape", "1,0,3", 'shape = "1,0,3" is not allowed: sizes above 0'),
        ("quantiles", "0.5,", 'quantiles = "0.5," is not allowed: a JSON list'),
        ("learning_rate", "x", 'learning_rate = "x" is not allowed: a number'),
        ("moode", "cbow", 'moode is not a hyperparameter of Sample; did you mean "mode"?'),
        ("zzz", "1", "zzz is not a hyperparameter of Sample"),
    ],
)
def test_a_wrong_value_is_told(name: str, value: Any, line: str) -> None:
    lines = refused(**{name: value})
    assert len(lines) == 1
    assert lines[0].startswith(line)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ClientError) as caught:
        SampleHyperparameters.parse({"mode": "x", "rate": "2", "epoch": "1"})
    told = str(caught.value).splitlines()
    assert [line.split(" ", 1)[0] for line in told] == ["epoch", "k", "mode", "rate"]
    assert "k is missing: an integer, 1 or more" in told


def test_the_platforms_own_hyperparameters_are_dropped() -> None:
    values = {"k": "3", "_tuning_objective_metric": "validation:accuracy", "sagemaker_region": "us-east-1", "_x": "1"}
    assert SampleHyperparameters.parse(values) == SampleHyperparameters(k=3)


def test_the_contracts_limits_hold() -> None:
    assert "101 hyperparameters are not allowed: up to 100" in refused(**{f"_{number}": "1" for number in range(100)})
    assert any("1 to 256 characters" in line for line in refused(**{"_" * 257: "1"}))


@given(st.dictionaries(st.sampled_from([*SampleHyperparameters.model_fields, "x", "_y"]), st.text() | json_values))
def test_any_values_are_parsed_or_refused(values: dict[str, Any]) -> None:
    try:
        parsed = SampleHyperparameters.parse(values)
    except ClientError as error:
        str(error).encode()
    else:
        assert parsed.k >= 1


@given(
    st.builds(
        SampleHyperparameters,
        k=st.integers(1, 10**9),
        mode=st.sampled_from(["cbow", "skipgram"]),
        rate=st.floats(0, 1, exclude_min=True),
        early_stopping=st.booleans(),
        factor=st.just("auto") | st.integers(1, 99),
    )
)
def test_what_was_parsed_arrives_again_as_text(hyperparameters: SampleHyperparameters) -> None:
    values = hyperparameters.model_dump(exclude_none=True)
    text = {name: json.dumps(value) if isinstance(value, list) else str(value) for name, value in values.items()}
    assert SampleHyperparameters.parse(text) == hyperparameters


def test_a_model_describes_itself() -> None:
    facts = {fact.name: fact for fact in SampleHyperparameters.describe()}
    assert facts["k"] == HyperparameterFact("k", "int", required=True, minimum=1, meaning="clusters wanted")
    assert (facts["mode"].type, facts["mode"].choices) == ("enum", ("cbow", "skipgram", "supervised"))
    assert (facts["method"].type, facts["method"].default) == ("enum", "random")
    assert (facts["depth"].type, facts["depth"].choices) == ("int", (18, 34, 50))
    assert (facts["factor"].type, facts["factor"].minimum, facts["factor"].special_values) == ("int", 1, ("auto",))
    assert (facts["normalise"].type, facts["normalise"].special_values) == ("bool", ("auto",))
    assert (facts["rounds"].minimum, facts["rounds"].maximum, facts["rounds"].default) == (2, 9, None)
    assert facts["shape"].pattern == r"^\d+,\d+,\d+$"
    assert facts["quantiles"].type == "json_list"
    assert (facts["eta"].name, facts["eta"].aliases) == ("eta", ("learning_rate",))
    assert facts["seed"].beyond_contract


@pytest.mark.parametrize("name", names())
def test_a_fact_survives_json(name: str) -> None:
    for fact in table(name).hyperparameters:
        assert HyperparameterFact.from_json(json.loads(json.dumps(fact.to_json()))) == fact
        assert fact.allowed()


def test_the_file_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "hyperparameters.json"
    assert read_hyperparameters(path) == {}
    write_hyperparameters(path, {"k": "10", "label": "é"})
    assert read_hyperparameters(path) == {"k": "10", "label": "é"}
    with pytest.raises(ClientError, match="k = 10 is not a string"):
        write_hyperparameters(path, {"k": 10})  # type: ignore[dict-item]


def test_a_broken_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "hyperparameters.json"
    path.write_text('{"k": "10"\n"mode": "cbow"}')
    with pytest.raises(DataError, match="line 2, column 1: not valid JSON"):
        read_hyperparameters(path)


VALUES = st.one_of(
    st.sampled_from(["1", "0", "-1", "2.5", "1e3", "1e400", "nan", "inf", "auto", "True", "false", "yes", "", " 7 "]),
    st.sampled_from(["supervised", "cbow", '"cbow"', "random", "18", "19", "3,224,224", "[0.5]", "softmax", "float16"]),
    st.integers(-2, 2**33).map(str),
    st.floats().map(str),
    st.text(max_size=5),
)


@pytest.mark.parametrize("model", [SampleHyperparameters, BlazingTextHyperparameters])
@given(data=st.data())
def test_a_table_alone_refuses_what_the_model_refuses(model: type[Hyperparameters], data: st.DataObject) -> None:
    facts = model.describe()
    known = [name for fact in facts for name in (fact.name, *fact.aliases)]
    given_ = data.draw(st.dictionaries(st.sampled_from([*known, "epoch", "_internal"]), VALUES, max_size=6))
    told = table_problems(given_, facts, model._title())
    refused_by_model: list[str] = []
    try:
        model.parse(given_)
    except ClientError as error:
        refused_by_model = str(error).split("\n")
    assert set(told) <= set(refused_by_model)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"epochs": "0"}, "epochs = 0 is not allowed: an integer, 1 or more"),
        ({"epochs": "many"}, 'epochs = "many" is not allowed: an integer, 1 or more'),
        ({"epoch": "3"}, 'epoch is not a hyperparameter of blazingtext; did you mean "epochs"?'),
        ({"learning_rate": "0"}, "learning_rate = 0 is not allowed: a number, above 0"),
        ({"early_stopping": "yes"}, 'early_stopping = "yes" is not allowed: True or False'),
        ({"seed": "-1"}, "seed = -1 is not allowed: an integer, 0 or more"),
        ({"storage": "float23"}, "storage = "),
        ({"mode": "superviced"}, 'did you mean "supervised"?'),
        ({"x" * 300: "1"}, "is not allowed: 1 to 256 characters"),
        ({"mode": "c" * 2501}, "mode has 2501 characters: up to 2500"),
    ],
)
def test_a_built_ins_table_names_what_is_wrong(values: dict[str, str], problem: str) -> None:
    said = table_problems({"mode": "cbow", **values}, table("blazingtext").hyperparameters, "blazingtext")
    assert problem in "; ".join(said)


def test_a_built_ins_table_names_what_is_missing_and_takes_the_rest() -> None:
    facts = table("blazingtext").hyperparameters
    assert table_problems({}, facts, "blazingtext") == [
        "mode is missing: one of batch_skipgram, skipgram, cbow, supervised"
    ]
    good = {"mode": '"supervised"', "epochs": "1e1", "storage": "auto", "sagemaker_region": "x", "_more": "y"}
    assert table_problems(good, facts, "blazingtext") == []


@pytest.mark.parametrize("name", names())
def test_every_default_of_a_table_fits_it(name: str) -> None:
    facts = table(name).hyperparameters
    defaults = {fact.name: str(fact.default) for fact in facts if fact.default is not None and not fact.required}
    lines = [line for line in table_problems(defaults, facts, name) if " is missing: " not in line]
    assert lines == []


class ListedHyperparameters(Hyperparameters):
    container_only = frozenset({"force_dense"})

    metrics: list[Literal["msd", "ssd"]] = Field(["msd"], description="scores")


def test_a_list_has_choices_and_its_default_is_text() -> None:
    (fact,) = ListedHyperparameters.describe()
    assert (fact.type, fact.choices, fact.default, fact.special_values) == ("json_list", ("msd", "ssd"), '["msd"]', ())
    assert ListedHyperparameters.parse({"metrics": '["ssd", "msd"]'}).metrics == ["ssd", "msd"]
    with pytest.raises(ClientError, match=r"^metrics = .* is not allowed: a list of msd, ssd$"):
        ListedHyperparameters.parse({"metrics": '["msf"]'})


def test_what_only_the_sdk_sends_is_dropped() -> None:
    assert ListedHyperparameters.parse({"force_dense": "True"}).metrics == ["msd"]
