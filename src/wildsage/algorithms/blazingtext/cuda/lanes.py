"""What a warp does together: sums across its lanes.

A row's column d is with lane d % LANES throughout, so that lanes need each other for sums alone. The simulator has no
shuffles, runs lanes as Python threads and needs a barrier for all of them: it has few lanes, and sums in shared memory.
"""

from __future__ import annotations

import numpy as np
from numba import config, cuda, float32

SIMULATED = bool(config.ENABLE_CUDASIM)
LANES = 4 if SIMULATED else 32
WARPS = 2 if SIMULATED else 4  # of a block that trains on lines of text
ALL = 0xFFFFFFFF
GATHERED = 16  # values that add_up takes

# Parts of a kernel become part of it: an array in registers cannot be handed to a call. (The simulator calls.)
part = cuda.jit(device=True) if SIMULATED else cuda.jit(device=True, forceinline=True)
# Registers of a lane, at most: a processor then has sixteen warps. Without, skip-gram took 167 at dim 100, for twelve.
REGISTERS = 128
entry = cuda.jit if SIMULATED else cuda.jit(max_registers=REGISTERS)


def columns_of(width: int) -> int:
    """The columns of a row that a lane has."""
    return -(-width // LANES)


if SIMULATED:

    @part
    def add_up(values, count, lane, out, at):
        """out[at + v] = the sum of values[v] over all lanes, v < count; to be read after a barrier.

        values: float32 (GATHERED,), each lane's own; used up. The block is one warp.
        """
        staged = cuda.shared.array(GATHERED * LANES, float32)
        for v in range(count):
            staged[v * LANES + lane] = values[v]
        cuda.syncthreads()
        for v in range(lane, count, LANES):
            total = np.float32(0)
            for other in range(LANES):
                total += staged[v * LANES + other]
            out[at + v] = total
        cuda.syncthreads()

    @part
    def warp_total(value):
        """The sum of `value` over the lanes of this warp. All warps of the block must call it equally often."""
        staged = cuda.shared.array(WARPS * LANES, float32)
        thread = cuda.threadIdx.x
        staged[thread] = value
        cuda.syncthreads()
        total, first = np.float32(0), thread - thread % LANES
        for other in range(first, first + LANES):
            total += staged[other]
        cuda.syncthreads()
        return total

    @part
    def warp_highest(value):
        """The highest `value` of the lanes of this warp; as warp_total."""
        staged = cuda.shared.array(WARPS * LANES, float32)
        thread = cuda.threadIdx.x
        staged[thread] = value
        cuda.syncthreads()
        highest, first = value, thread - thread % LANES
        for other in range(first, first + LANES):
            highest = max(highest, staged[other])
        cuda.syncthreads()
        return highest

else:

    def _make_fold(half):
        @part
        def fold(values, lane):
            # Lanes with this bit of their number go on with the upper half of the values, the others with the lower.
            upper = (lane & half) != 0
            for v in range(half):
                low, high = values[v], values[v + half]
                sent, own = (low, high) if upper else (high, low)
                values[v] = own + cuda.shfl_xor_sync(ALL, sent, half)

        return fold

    _fold8, _fold4, _fold2, _fold1 = map(_make_fold, (8, 4, 2, 1))

    @part
    def add_up(values, count, lane, out, at):
        """out[at + v] = the sum of values[v] over all lanes, v < count; to be read after a barrier.

        values: float32 (GATHERED,), each lane's own; used up. Halving what a lane has at each step takes 16 shuffles
        for all sums, where five for each took 60 for twelve.
        """
        _fold8(values, lane)
        _fold4(values, lane)
        _fold2(values, lane)
        _fold1(values, lane)
        total = values[0] + cuda.shfl_xor_sync(ALL, values[0], 16)
        if lane < count:
            out[at + lane] = total

    @part
    def warp_total(value):
        """The sum of `value` over the lanes of this warp."""
        for step in range(5):
            value += cuda.shfl_xor_sync(ALL, value, 1 << step)
        return value

    @part
    def warp_highest(value):
        """The highest `value` of the lanes of this warp."""
        for step in range(5):
            value = max(value, cuda.shfl_xor_sync(ALL, value, 1 << step))
        return value
