"""Checkpoints that are damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.algorithms.jobs import Listener
from wildsage.algorithms.checkpoint import Checkpoint
from wildsage.contract.files import beside_name


def write(folder: Path) -> Checkpoint:
    checkpoint = Checkpoint(folder / "some.npz", "this job", Listener())
    checkpoint.write({"epoch": 3}, {"table": np.arange(60, dtype=np.float32), "positions": np.arange(2)})
    return checkpoint


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=3), st.integers(0, 10**6))
def test_a_flipped_or_cut_checkpoint_is_read_or_left_alone(
    tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]], cut: int
) -> None:
    checkpoint = write(tmp_path_factory.getbasetemp())
    data = bytearray(checkpoint.path.read_bytes())
    for place, bits in flips:
        data[place % len(data)] ^= bits
    checkpoint.path.write_bytes(data[: cut % (2 * len(data))])
    taken: list[tuple[Any, NDArray[np.float32]]] = []

    def take(facts: dict[str, Any], stored: Mapping[str, NDArray[Any]]) -> None:
        taken.append((facts["epoch"], stored["table"]))

    listener = Listener()
    checkpoint.report = listener
    if checkpoint.resume(take):
        assert taken
    else:
        assert any("starting anew" in line for line in listener.lines)


def test_a_whole_checkpoint_is_read(tmp_path: Path) -> None:
    found: list[int] = []
    assert write(tmp_path).resume(lambda facts, stored: found.append(facts["epoch"] + stored["table"].size))
    assert found == [63]


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    checkpoint = write(tmp_path)
    beside_name(checkpoint.path).write_bytes(b"half of one")
    other = beside_name(tmp_path / "other.npz")
    other.write_bytes(b"of another")
    assert checkpoint.resume(lambda facts, stored: None)
    assert sorted(tmp_path.iterdir()) == [other, checkpoint.path]
