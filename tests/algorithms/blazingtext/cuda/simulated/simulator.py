"""numba-cuda's simulator, with lanes that wait for each other at a barrier instead of in a loop that polls them.

Its own loop keeps the interpreter's lock for milliseconds at each barrier. This one also tells of a barrier that not
all lanes of a block reach, which a GPU would not forgive. And a shared array is made under a lock: without, two lanes
that came to a new one at once had an array each, and one job in twenty ended with other rows.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numba import types
from numba.cuda.simulator import kernel, kernelapi
from numba.np.numpy_support import as_dtype

PATIENCE = 60  # s that a lane waits for the others


def _run(self: Any, grid_point: tuple[int, ...], *args: Any) -> None:
    lanes = list(np.ndindex(*self._block_dim))
    self.barrier = threading.Barrier(len(lanes))
    threads = [kernel.BlockThread(lambda: self._f(*args), self, grid_point, lane, self._debug) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failures = [thread.exception for thread in threads if thread.exception]
    # A lane that failed leaves the others with a broken barrier, which is not the cause.
    for error, traceback in sorted(failures, key=lambda failure: "BrokenBarrier" in repr(failure[0])):
        raise error.with_traceback(traceback)


def _syncthreads(self: Any) -> None:
    self._manager.barrier.wait(PATIENCE)


def _finish(self: Any) -> None:
    _thread_run(self)
    if self.exception:
        self._manager.barrier.abort()


def _shared_array(self: Any, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
    if shape == 0:
        return _plain_shared_array(self, shape, dtype, alignment)  # all of dynamic memory, which is there already
    asked = sys._getframe(1)
    with _one_allocates:
        place = (asked.f_code.co_filename, asked.f_lineno)
        if place not in self._allocations:
            self._allocations[place] = np.empty(shape, as_dtype(dtype) if isinstance(dtype, types.Type) else dtype)
        return self._allocations[place]


_one_allocates = threading.Lock()
_plain_shared_array = kernelapi.FakeCUDAShared.array
_thread_run = kernel.BlockThread.run


def install() -> None:
    """Replace the simulator's loop, in this process."""
    sys.setswitchinterval(1e-4)
    kernel.BlockManager.run = _run
    kernel.BlockThread.syncthreads = _syncthreads
    kernel.BlockThread.run = _finish
    kernelapi.FakeCUDAShared.array = _shared_array
