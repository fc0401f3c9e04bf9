"""What matrix products need to be told before NumPy is loaded."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# One thread each: threads of OpenBLAS spin while they wait, which beside other work costs more than it gains; ours
# share the rows of a batch among them instead.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def prepare() -> None:
    """Set the environment of this process for OpenBLAS, where the user has not.

    OpenBLAS takes a processor that it does not know for an old one: AMD's with AVX-512 for a Haswell, which halves the
    speed of every product in float32.
    """
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")
    if "OPENBLAS_CORETYPE" not in os.environ and platform.machine() in ("x86_64", "AMD64") and _is_amd_with_avx512():
        os.environ["OPENBLAS_CORETYPE"] = "SkylakeX"


def _is_amd_with_avx512() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    first = text.partition("\n\n")[0]
    flags = first.partition("flags")[2].partition("\n")[0].split()
    return "AuthenticAMD" in first and {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"} <= set(flags)
