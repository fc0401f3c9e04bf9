"""Which jobs train on the GPU, and what is said when they do not."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.algorithms.blazingtext.jobs import Listener, job
from wildsage.algorithms.blazingtext.cuda import device
from wildsage.contract.errors import ClientError

needs_numba_cuda = pytest.mark.skipif(
    find_spec("numba_cuda") is None, reason="numba-cuda is not installed: pip install '.[gpu]'"
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if numba-cuda and a GPU were there."""
    monkeypatch.setattr(device, "_missing", lambda: None)
    monkeypatch.setattr(device, "_shared_bytes", lambda parameters: 1000 * parameters.vector_dim)


def settle(folder: Path, instance: str = "cpu", **values: Any) -> tuple[str, list[str]]:
    listener = Listener()
    context = replace(job(folder, {"train": "a b\n"}, listener, **values), device=instance)
    return device.settle(context).device, listener.lines


def test_a_job_trains_on_the_processor_unless_its_instance_has_a_gpu(tmp_path: Path) -> None:
    assert settle(tmp_path) == ("cpu", [])
    assert settle(tmp_path, "cuda", device="cpu") == ("cpu", [])


@pytest.mark.usefixtures("installed")
def test_a_job_trains_on_the_gpu_of_its_instance_or_when_asked(tmp_path: Path) -> None:
    assert settle(tmp_path, "cuda") == ("cuda", [])
    assert settle(tmp_path, "cpu", device="cuda") == ("cuda", [])
    assert settle(tmp_path, "cuda", device="cuda", deterministic=True) == ("cuda", [])


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_spec", lambda name: None)
    monkeypatch.setattr(device.shutil, "which", lambda name: name)
    chosen, lines = settle(tmp_path, "cuda")
    assert chosen == "cpu"
    assert lines == [
        "training on the processor, not on the GPU: the package numba-cuda is not installed: "
        f"{sys.executable} -m pip install -e '.[gpu]' in the checkout"
    ]
    monkeypatch.setattr(device.shutil, "which", lambda name: None)
    with pytest.raises(ClientError, match=r"device = cuda: .*, nor is an NVIDIA driver .* -e '\.\[gpu\]'"):
        settle(tmp_path, device="cuda")


@needs_numba_cuda
def test_no_gpu_is_said_plainly(tmp_path: Path) -> None:
    from numba import cuda

    if cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ClientError, match="device = cuda: no NVIDIA GPU, or no driver for it"):
        settle(tmp_path, device="cuda")
    chosen, lines = settle(tmp_path, "cuda")
    assert chosen == "cpu"
    assert len(lines) == 1


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("values", "words"),
    [({"vector_dim": 50}, "lower vector_dim"), ({"deterministic": True}, "one sentence at a time")],
)
def test_auto_steps_back_from_what_a_gpu_cannot_do_well(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    chosen, lines = settle(tmp_path, "cuda", **values)
    assert chosen == "cpu"
    assert words in lines[0]


@pytest.mark.usefixtures("installed")
def test_what_does_not_fit_is_refused_when_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"device = cuda: .*50,000 bytes.*49,152"):
        settle(tmp_path, device="cuda", vector_dim=50)


@pytest.mark.usefixtures("installed")
def test_halves_are_for_the_processor(tmp_path: Path) -> None:
    context = replace(job(tmp_path, {"train": "a b\n"}, storage="float16"), device="cuda")
    assert device.settle(context).hyperparameters.storage == "float32"
