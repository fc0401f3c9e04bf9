"""Compile the kernels of every registered algorithm: `python -m wildsage.runtime.warm [NAME ...]`, run at install.

Without it the first job compiles them, and says so.
"""

from __future__ import annotations

import sys
import time


def main(arguments: list[str] | None = None) -> int:
    """Warm up the named algorithms, or all; returns the exit code."""
    begun = time.monotonic()
    from wildsage.algorithms import kernel, registry
    from wildsage.contract.errors import WildsageError

    failed = 0
    for name in (sys.argv[1:] if arguments is None else arguments) or registry.names():
        started = time.monotonic()
        _tell(f"{name}: compiling kernels")
        try:
            registry.get(name).warm_up()
        except WildsageError as error:
            failed = 1
            _tell(f"{name}: {error}")
        else:
            _tell(f"{name}: ready after {time.monotonic() - started:.1f} s")
    folder = kernel.cache_folder()
    where = f"kept in {folder}" if folder else "not kept: no folder for them can be written (set WILDSAGE_CACHE)"
    _tell(f"kernels are {where}; {time.monotonic() - begun:.1f} s in all")
    return failed


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
