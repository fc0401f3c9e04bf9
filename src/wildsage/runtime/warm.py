"""Compile the kernels of every registered algorithm: `python -m wildsage.runtime.warm [NAME ...]`, run at install.

Without it the first job compiles them, and says so. `--check` compiles nothing: it exits with 1 if some are missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import time


def main(arguments: list[str] | None = None) -> int:
    """Warm up the named algorithms, or all; returns the exit code."""
    begun = time.monotonic()
    from wildsage.algorithms import registry
    from wildsage.contract.errors import ClientError, WildsageError
    from wildsage.kernels import kernel

    given = sys.argv[1:] if arguments is None else arguments
    asked = [each for each in given if each != "--check"]
    names = asked or registry.names()
    if "--check" in given:
        try:
            missing = [each for name in names for each in _missing(name)]
        except WildsageError as error:
            _tell(str(error))
            return 1
        _tell("\n".join(missing) or "every kernel is compiled")
        return int(bool(missing))
    failed = 0
    for name in names:
        started = time.monotonic()
        _tell(f"{name}: compiling kernels")
        try:
            registry.get(name).warm_up()
        except WildsageError as error:
            # Of all algorithms, one whose package is an extra may be lacking.
            left_out = not asked and isinstance(error, ClientError)
            failed = failed or int(not left_out)
            _tell(f"{name}: {'left out: ' if left_out else ''}{error}")
        else:
            _tell(f"{name}: ready after {time.monotonic() - started:.1f} s")
    folder = kernel.cache_folder()
    where = f"kept in {folder}" if folder else "not kept: no folder for them can be written (set WILDSAGE_CACHE)"
    _tell(f"kernels are {where}; {time.monotonic() - begun:.1f} s in all")
    return failed


def _missing(name: str) -> list[str]:
    """The kernels of an algorithm's package that are not compiled for this processor yet."""
    from wildsage.algorithms import registry
    from wildsage.kernels import kernel

    module = registry.get(name).__module__
    package = sys.modules[module].__package__
    if package and importlib.util.find_spec(f"{package}.kernels") is not None:
        kernels = importlib.import_module(f"{package}.kernels")  # one module, or a package of them
        for each in pkgutil.walk_packages(getattr(kernels, "__path__", ()), f"{kernels.__name__}."):
            importlib.import_module(each.name)
    return kernel.missing(package or module)


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
