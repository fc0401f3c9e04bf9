"""The CUDA kernels compiled for a real GPU, without one: what the simulator forgives, the compiler does not.

Needs NVVM and NVRTC, as `.[gpu]` brings them; skipped without.
"""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = [
    pytest.mark.skipif(find_spec("numba_cuda") is None, reason="numba-cuda is not installed"),
    pytest.mark.slow,
]

HOPPER = (9, 0)


@pytest.fixture(scope="module")
def cuda() -> Any:
    """numba.cuda, for a GPU of that kind."""
    from cuda.pathfinder import load_nvidia_dynamic_lib
    from numba import cuda
    from numba.cuda import dispatcher
    from numba.cuda.cudadrv import nvvm

    try:
        nvvm.NVVM()
        load_nvidia_dynamic_lib("nvrtc")
    except Exception as error:  # whatever it is that is not there
        pytest.skip(f"NVVM is not found: {error}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=HOPPER))
        yield cuda


def array(kind: str, dimensions: int = 1) -> Any:
    import numpy as np
    from numba.core import types
    from numba.np.numpy_support import from_dtype

    return types.Array(from_dtype(np.dtype(kind)), dimensions, "C")


def check(cuda: Any, kernel: Any, *arguments: Any) -> str:
    """Compile a kernel; nothing that a lane has may have to lie in memory. Returns the assembly."""
    assembly, _ = cuda.compile_ptx(kernel.py_func, arguments, cc=HOPPER)
    assert "__local_depot" not in assembly
    assert "shfl.sync.bfly" in assembly
    return str(assembly)


@pytest.mark.parametrize(("cbow", "composed"), [(False, False), (True, True)])
def test_words(cuda: Any, cbow: bool, composed: bool) -> None:
    from numba.core.types import NamedTuple, float64, int64

    from wildsage.algorithms.blazingtext.cuda import words
    from wildsage.algorithms.blazingtext.cuda.draws import Workspace
    from wildsage.algorithms.blazingtext.cuda.shares import Shares
    from wildsage.algorithms.blazingtext.kernels.random import Chances
    from wildsage.algorithms.blazingtext.kernels.word_vectors import Rows

    floats, places = array("f4"), array("i8")
    numbers, tables = array("i4", 2), array("f4", 2)
    text = NamedTuple([array("i4"), places, places, places, array("u8")], words.Text)
    chances = NamedTuple([array("u8"), array("u8"), *[int64] * 4, places, array("i4"), array("i4")], Chances)
    rows = NamedTuple([floats, floats, places, array("i4"), floats, floats], Rows)
    shares = NamedTuple([floats, floats], Shares)
    work = NamedTuple([*[numbers] * 7, tables, numbers, numbers, tables, tables], Workspace)
    steps = NamedTuple([float64, int64, int64, float64], words.Steps)
    kernel = words.make_kernel(112, 5, cbow=cbow, composed=composed)
    assembly = check(cuda, kernel, text, chances, rows, shares, work, steps, array("f8", 2))
    assert "atom.global.add.f32" in assembly or "red.global.add.f32" in assembly


@pytest.mark.parametrize("loss", ["softmax", "hs", "ova", "ns"])
def test_lines(cuda: Any, loss: str) -> None:
    from numba.core.types import NamedTuple, float64, int64

    from wildsage.algorithms.blazingtext.cuda import lines
    from wildsage.algorithms.blazingtext.cuda.shares import Shares
    from wildsage.algorithms.blazingtext.kernels.supervised import Lines, Loss
    from wildsage.algorithms.blazingtext.losses import CODES

    floats, numbers, places = array("f4"), array("i4"), array("i8")
    text = NamedTuple([numbers, floats, places, floats, numbers, places, places], Lines)
    learnt = NamedTuple([int64, places, numbers, numbers, numbers, array("u8"), int64], Loss)
    where = NamedTuple([places, places, places, array("u8"), array("f4", 2), array("i8", 2)], lines.Places)
    taken = NamedTuple([floats, floats], Shares)
    steps = NamedTuple([float64, int64, int64], lines.Steps)
    check(cuda, lines.make_kernel(112, CODES[loss]), text, learnt, floats, floats, taken, where, steps, array("f8", 2))
