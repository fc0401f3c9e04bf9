"""Channels and hyperparameters are told apart by name, and every wrong argument is named."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wildsage.cli.arguments import JobArguments, pair, required, sort_out
from wildsage.contract.errors import ClientError

CHANNELS = ("train", "validation")
HYPERPARAMETERS = ("mode", "epochs", "learning_rate")


def sort(*arguments: str, **forced: list[str]) -> JobArguments:
    return sort_out(arguments, channels=CHANNELS, hyperparameters=HYPERPARAMETERS, **forced)


def test_names_decide() -> None:
    sorted_out = sort("train=a=b.txt", "mode=supervised", "validation=s3://bucket/key?x=1", "epochs=10")
    assert sorted_out.channels == {"train": "a=b.txt", "validation": "s3://bucket/key?x=1"}
    assert sorted_out.hyperparameters == {"mode": "supervised", "epochs": "10"}


def test_a_name_that_is_both_is_a_switch_if_its_value_is_one() -> None:
    both = {"channels": ("train", "evaluation"), "hyperparameters": ("evaluation",), "switches": ("evaluation",)}
    assert sort_out(["evaluation=False"], **both) == JobArguments({}, {"evaluation": "False"})
    assert sort_out(["evaluation=pairs.txt"], **both) == JobArguments({"evaluation": "pairs.txt"}, {})
    assert sort_out(["evaluation=true", "evaluation=a"], **both) == JobArguments(
        {"evaluation": "a"}, {"evaluation": "true"}
    )


def test_val_is_the_validation_channel() -> None:
    assert sort("val=v.txt").channels == {"val": "v.txt"}


def test_an_option_overrides_the_name() -> None:
    sorted_out = sort(
        "mode=supervised", forced_channels=["mode=folder"], forced_hyperparameters=["train=1", "unheard_of=2"]
    )
    assert sorted_out.channels == {"mode": "folder"}
    assert sorted_out.hyperparameters == {"mode": "supervised", "train": "1", "unheard_of": "2"}


def test_every_wrong_argument_is_named_with_the_nearest_right_one() -> None:
    with pytest.raises(ClientError) as caught:
        sort("epoch=3", "train.txt", "validaton=v.txt", "mode=a", "mode=b", "train=")
    message = str(caught.value)
    assert '"epoch" is neither a channel nor a hyperparameter of this algorithm; did you mean "epochs"?' in message
    assert 'did you mean "validation"?' in message
    assert '"train.txt" is not of the form NAME=VALUE' in message
    assert 'hyperparameter "mode" is given twice' in message
    assert 'channel "train" is empty' in message


def test_a_missing_channel_is_named() -> None:
    required({"train": True, "validation": False}, {"train": "a"})
    required({"validation": True}, {"val": "a"})
    with pytest.raises(ClientError, match="missing channel: train=PATH"):
        required({"train": True, "validation": False}, {})


@given(st.text(), st.text())
def test_pairs_come_back(name: str, value: str) -> None:
    if "=" in name:
        return
    if not name.strip():
        with pytest.raises(ClientError):
            pair(f"{name}={value}")
        return
    assert pair(f"{name}={value}") == (name.strip(), value)


@given(st.lists(st.text()))
def test_any_arguments_are_sorted_or_refused(arguments: list[str]) -> None:
    with suppress(ClientError):
        sort(*arguments)
