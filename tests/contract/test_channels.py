from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import channel_names, channels, json_values
from wildsage.contract.channels import (
    Channel,
    Distribution,
    InputMode,
    channel_problems,
    name_problems,
    parse_channels,
    read_channels,
    write_channels,
)
from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.layout import Layout

EXAMPLE = {
    "train": {
        "ContentType": "text/csv",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    },
    "evaluation": {
        "TrainingInputMode": "Pipe",
        "S3DistributionType": "ShardedByS3Key",
        "RecordWrapperType": "RecordIO",
    },
}


def refused(settings: dict[str, Any]) -> str:
    with pytest.raises(ClientError) as caught:
        parse_channels(settings, Layout())
    return str(caught.value)


def test_the_contracts_form_is_read() -> None:
    found = parse_channels(EXAMPLE, Layout())
    assert found == {
        "train": Channel("train", Path("/opt/ml/input/data/train"), "text/csv"),
        "evaluation": Channel(
            "evaluation",
            Path("/opt/ml/input/data/evaluation"),
            None,
            InputMode.PIPE,
            Distribution.SHARDED_BY_S3_KEY,
            "RecordIO",
        ),
    }
    assert {name: channel.to_json() for name, channel in found.items()} == EXAMPLE


def test_val_counts_as_validation_and_keeps_its_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    (channel,) = parse_channels({"val": {}}, layout).values()
    assert (channel.name, channel.path) == ("validation", layout.channel("val"))
    write_channels(layout, [channel])
    assert list(json.loads(layout.input_data_config.read_text())) == ["val"]
    assert 'the channels "val" and "validation" are one' in refused({"val": {}, "validation": {}})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"a b": {}}, 'channel name "a b" is not allowed: 1 to 64 of the characters'),
        ({"..": {}}, 'channel name ".." is not allowed'),
        ({"": {}}, 'channel name "" is not allowed'),
        ({"x" * 65: {}}, "is not allowed: 1 to 64"),
        ({f"c{number}": {} for number in range(21)}, "21 channels are not allowed: up to 20"),
        ({"train": "File"}, 'channel "train" is a string: an object'),
        (
            {"train": {"TrainingInputMode": "file"}},
            'TrainingInputMode = "file" is not allowed: one of File, FastFile, Pipe; did you mean "File"?',
        ),
        (
            {"train": {"S3DistributionType": 3}},
            "S3DistributionType = 3 is not allowed: one of FullyReplicated, Sharded",
        ),
        ({"train": {"ContentType": ["text/csv"]}}, 'ContentType = ["text/csv"] is not allowed: text'),
        ({"train": {"RecordWrapperType": "TFRecord"}}, 'RecordWrapperType = "TFRecord" is not allowed: one of None, '),
    ],
)
def test_what_is_wrong_is_told(settings: dict[str, Any], reason: str) -> None:
    assert reason in refused(settings)


def test_all_that_is_wrong_is_told_at_once() -> None:
    settings = {"a b": {"TrainingInputMode": "x"}, "train": {"S3DistributionType": "y"}}
    assert len(refused(settings).splitlines()) == 3


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """One folder for all examples of a test; each writes its files anew."""
    return Layout(tmp_path_factory.mktemp("ml"))


def test_twenty_channels_are_written_and_read(shared: Layout) -> None:
    many = [Channel(f"c{number}", shared.channel(f"c{number}")) for number in range(20)]
    write_channels(shared, many)
    assert list(read_channels(shared).values()) == many


@given(st.data())
def test_what_is_written_is_read(shared: Layout, data: st.DataObject) -> None:
    layout = shared
    given_channels = data.draw(channels(layout))
    write_channels(layout, given_channels)
    assert list(read_channels(layout).values()) == given_channels


SETTINGS = st.dictionaries(st.sampled_from(list(EXAMPLE["train"])), json_values)


@given(st.dictionaries(st.text() | channel_names, json_values | SETTINGS, max_size=4))
def test_any_settings_are_read_or_refused(settings: dict[str, Any]) -> None:
    try:
        found = parse_channels(settings, Layout())
    except ClientError:
        return
    assert len(found) == len(settings)
    assert all(channel.path.parent == Path("/opt/ml/input/data") for channel in found.values())


def test_the_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert read_channels(layout) == {}
    layout.input_config.mkdir(parents=True)
    layout.input_data_config.write_text('{"train": {')
    with pytest.raises(DataError, match=r"inputdataconfig\.json, line 1"):
        read_channels(layout)
    with pytest.raises(ClientError, match="channel name"):
        write_channels(layout, [Channel("a/b", tmp_path / "a b")])


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def test_files_are_listed_in_order_without_hidden_ones(tmp_path: Path) -> None:
    train = tmp_path / "train"
    expected = [write(train / name) for name in ("b/0.txt", "b/1.txt", "c.txt")]
    write(train / ".amazon.manifest")
    write(train / ".cache" / "d.txt")
    assert Channel("train", train).files() == expected
    assert Channel("train", tmp_path / "none").files() == []


def test_files_behind_links_are_listed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "part.txt")
    os.symlink(data, data / "again")
    train = tmp_path / "train"
    train.mkdir()
    os.symlink(data, train / "first")
    os.symlink(data, train / "second")
    os.symlink(data / "part.txt", train / "third.txt")
    os.symlink(tmp_path / "nowhere", train / "broken")
    assert Channel("train", train).files() == [
        train / "first" / "part.txt",
        train / "second" / "part.txt",
        train / "third.txt",
    ]
    assert Channel("train", train / "third.txt").files() == [train / "third.txt"]


def test_what_an_algorithm_misses_is_told(tmp_path: Path) -> None:
    write(tmp_path / "trian" / "x.txt")
    given_channels = {
        "trian": Channel("trian", tmp_path / "trian"),
        "validation": Channel("validation", tmp_path / "v"),
    }
    assert channel_problems(given_channels, ["train"], ["validation", "model"]) == [
        'channel "train" is missing; beside it there may be validation, model',
        'channel "trian" is not allowed: train, validation, model; did you mean "train"?',
        f'channel "validation" has no files in {tmp_path / "v"}',
    ]
    assert name_problems(["train"]) == []
