"""Whether a job trains on the GPU, and how much of it at once."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from wildsage.algorithms.blazingtext.hyperparameters import BlazingTextHyperparameters
    from wildsage.algorithms.context import TrainingContext

SHARED_BYTES = 48 << 10  # of a block, on any GPU of these years, without being asked for
INSTALL = f"{sys.executable} -m pip install -e '.[gpu]' in the checkout"
SIMULATED_PROCESSORS = 4


def settle(context: TrainingContext[BlazingTextHyperparameters]) -> TrainingContext[BlazingTextHyperparameters]:
    """The context with the device that it really trains on, and with hyperparameters that this one can follow.

    `auto` takes the GPU where the job's instance has one and nothing stands against it, and else says what does.
    Raises ClientError if device = cuda cannot be.
    """
    parameters = context.hyperparameters
    if parameters.device == "cpu" or (parameters.device == "auto" and context.device != "cuda"):
        return replace(context, device="cpu")
    problem = _problem(parameters)
    if problem is not None and parameters.device == "cuda":
        raise ClientError(f"device = cuda: {problem}")
    if problem is not None:
        context.report.say(f"training on the processor, not on the GPU: {problem}")
        return replace(context, device="cpu")
    if parameters.storage == "float16":
        context.report.say("storage = float16 is for the processor: on the GPU, rows are float32")
    return replace(context, device="cuda", hyperparameters=parameters.model_copy(update={"storage": "float32"}))


def _problem(parameters: BlazingTextHyperparameters) -> str | None:
    """What stands against training on the GPU."""
    missing = _missing()
    if missing is not None:
        return missing
    if parameters.weighs_positions:
        return "position_weights are trained on the processor alone"
    if parameters.deterministic and parameters.device == "auto":
        return "deterministic = true trains one sentence at a time on a GPU, which is slow; device = cuda asks for that"
    needed = _shared_bytes(parameters)
    if needed > SHARED_BYTES:
        names = "vector_dim" if parameters.mode == "supervised" else "vector_dim or window_size"
        return (
            f"a block's rows need {needed:,} bytes of shared memory and there are {SHARED_BYTES:,}: lower {names}, or "
            "train with device = cpu"
        )
    return None


def _missing() -> str | None:
    if find_spec("numba_cuda") is None:
        seen = "" if shutil.which("nvidia-smi") else ", nor is an NVIDIA driver (there is no nvidia-smi)"
        return f"the package numba-cuda is not installed{seen}: {INSTALL}"
    from numba import cuda

    return None if cuda.is_available() else "no NVIDIA GPU, or no driver for it, is found on this machine"


def _shared_bytes(parameters: BlazingTextHyperparameters) -> int:
    """The shared memory that a block needs."""
    from wildsage.algorithms.blazingtext.cuda import lines, words
    from wildsage.kernels.vector import padded

    width = padded(parameters.vector_dim)
    if parameters.mode == "supervised":
        return lines.shared_bytes(width)
    return words.shared_bytes(width, parameters.window_size)


def resident(warps: int, shared: int) -> int:
    """How many blocks the GPU has room for at once. shared: bytes of each."""
    from numba import cuda

    from wildsage.algorithms.blazingtext.cuda.lanes import REGISTERS, SIMULATED

    if SIMULATED:
        return SIMULATED_PROCESSORS * 4
    device = cuda.get_current_device()
    registers = device.MAX_REGISTERS_PER_MULTIPROCESSOR // (REGISTERS * 32 * warps)
    memory = device.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR // (shared + 1024)  # what the system takes of each
    return int(device.MULTIPROCESSOR_COUNT * max(1, min(registers, memory)))


def check_room(needed: int) -> None:
    """Refuse what cannot fit into the GPU's memory, before it is allocated. needed: bytes."""
    from numba import cuda

    from wildsage.algorithms.blazingtext.cuda.lanes import SIMULATED

    context = cuda.current_context()
    if not SIMULATED:
        # What earlier folds held may be waiting to be freed: up to a fifth of the memory.
        context.memory_manager.deallocations.clear()
    free = context.get_memory_info().free
    if needed > free:
        raise ClientError(
            f"training needs {needed / 1e9:.1f} GB of the GPU's memory and {free / 1e9:.1f} GB is free: lower "
            "vector_dim, raise min_count, give less text, or train with device = cpu"
        )
