"""`@kernel`, our one njit: the flags that every kernel shares, and a cache on disk that outlives a checkout.

Compiled kernels lie below WILDSAGE_CACHE, or XDG_CACHE_HOME, or ~/.cache, in `wildsage/kernels/KEY`. The key is a hash
of the source of every kernel module, of the versions of Numba and LLVM, and of the processor: another checkout with the
same source finds them, and a change anywhere makes a new folder, since Numba alone would miss a change in a callee.
Where none of these folders can be written, a private folder for temporary files is used, and failing that, memory.
"""

from __future__ import annotations

import grp
import hashlib
import logging
import os
import pickle
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
from llvmlite import binding

from wildsage.contract.errors import ClientError

try:
    import numba
except ValueError as error:  # what its variables say; nothing of ours has run yet
    raise ClientError(f"Numba cannot start with these variables of the environment (NUMBA_*): {error}") from error
if numba.config.DISABLE_JIT:
    raise ClientError("NUMBA_DISABLE_JIT is set in the environment, but kernels must be compiled: unset it")
from numba import njit
from numba.core.caching import CompileResultCacheImpl, FunctionCache, NullCache, _CacheLocator

F = TypeVar("F", bound=Callable[..., object])

logger = logging.getLogger(__name__)

# No "nnan" and "ninf": a kernel must be able to see a NaN.
FAST_MATH = {"reassoc", "contract", "arcp", "nsz", "afn"}

# _nrt=False: no reference counting, so a kernel cannot allocate. Its atomic counts were 60 % of a tokeniser's time.
FLAGS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy", "fastmath": FAST_MATH}
FLAGS["_nrt"] = False

KEPT_VERSIONS = 8  # older folders of compiled kernels are removed
_DAMAGED = (
    OSError, EOFError, ValueError, KeyError, AttributeError, ImportError, IndexError, TypeError, pickle.PickleError
)  # fmt: skip

COMPILING = "compiling kernels, once for this machine: some seconds"

_kernels: list[Any] = []
_told: set[str] = set()


def kernel(function: F) -> F:
    """Compile a numeric function at its first call: no interpreter lock, cached on disk, float sums may be reordered.

    It gets flat arrays and numbers (or named tuples of them), and allocates nothing.
    """
    return _compiled(function, FLAGS)


def kernel_part(function: F) -> F:
    """A kernel that others call for each word or row: it becomes part of each caller.

    An array is seven arguments, so a call with ten of them moves more memory than some kernels do: CBOW's windows took
    1.25 times as long by calls.
    """
    return _compiled(function, FLAGS | {"forceinline": True})


def _compiled(function: F, flags: dict[str, Any]) -> F:
    try:
        compiled = njit(**flags)(function)
    except KeyError:  # a Numba without the private flag
        compiled = njit(**{name: value for name, value in flags.items() if name != "_nrt"})(function)
    compiled._cache = _Uncached() if cache_folder() is None else _KernelCache(function)
    _kernels.append(compiled)
    return cast(F, compiled)


def missing(*modules: str) -> list[str]:
    """Names of the kernels of these modules (and of those below) that are neither compiled here nor cached on disk."""
    return [
        f"{compiled.py_func.__module__}.{compiled.py_func.__name__}"
        for compiled in _kernels
        if any(f"{compiled.py_func.__module__}.".startswith(f"{module}.") for module in modules)
        and not compiled.signatures
        and not _is_cached(compiled)
    ]


def _tell() -> None:
    """Say, once a process, what takes so long: a job's log or an endpoint's shows it."""
    if COMPILING not in _told:
        _told.add(COMPILING)
        logger.info(COMPILING)


def _is_cached(compiled: Any) -> bool:
    index = getattr(getattr(compiled._cache, "_cache_file", None), "_index_path", None)
    return index is not None and os.path.exists(index)


@lru_cache(maxsize=1)
def cache_folder() -> Path | None:
    """The folder of all compiled kernels, made if need be; None where no folder is safe to use."""
    named = os.environ.get("WILDSAGE_CACHE")
    wide = os.environ.get("XDG_CACHE_HOME")
    places = [Path(named)] if named else []
    places.append((Path(wide) if wide else Path(os.path.expanduser("~")) / ".cache") / "wildsage")
    places.append(Path(tempfile.gettempdir()) / f"wildsage-{os.getuid()}")
    for place in places:
        try:
            for folder in (place, place / "kernels"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = folder.resolve()  # from here on no link can be turned elsewhere
            if is_private(folder):
                return folder
        except OSError:
            continue
    return None


def is_private(folder: Path) -> bool:
    """Whether no other user but root can put a file into a folder, or another folder in its place.

    Compiled code is read back by pickle, and run. folder: without links. A folder above it may be open to all if it is
    sticky, as /tmp is: then only the owner of what is in it can move that away.
    """
    trusted = (0, os.getuid())
    for place in (folder, *folder.parents):
        facts = place.stat()
        # Inside a user namespace the root folder may seem to be nobody's.
        if facts.st_uid not in trusted and place != place.parent:
            return False
        if _others_write(facts) and (place == folder or not facts.st_mode & stat.S_ISVTX):
            return False
    return True


def _others_write(facts: os.stat_result) -> bool:
    if facts.st_mode & stat.S_IWOTH:
        return True
    if not facts.st_mode & stat.S_IWGRP:
        return False
    try:  # where each user has a group of the same name, the umask often lets that write
        return grp.getgrgid(facts.st_gid).gr_name != pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return True


@lru_cache(maxsize=64)
def _key(root: Path, file: Path) -> str:
    """Hash what decides about the compiled code of the kernels in `file`, below the package folder `root`."""
    ours = Path(__file__).parent.parent
    paths = {*ours.rglob("*.py"), *(root.rglob("*.py") if root != ours else ()), file}
    digest = hashlib.sha256()
    for path in sorted(paths):
        source = path.read_bytes()
        if path == file or b"@kernel" in source or path.name in ("kernel.py", "vector.py"):
            digest.update(hashlib.sha256(source).digest())
    facts = (
        numba.__version__,
        llvmlite.__version__,
        sys.version_info[:2],
        binding.get_process_triple(),
        numba.config.CPU_NAME or binding.get_host_cpu_name(),
        numba.config.CPU_FEATURES or binding.get_host_cpu_features().flatten(),
        os.environ.get("WILDSAGE_PLAIN_KERNELS", ""),
    )
    digest.update(repr(facts).encode())
    return digest.hexdigest()[:20]


def _home(function: Callable[..., object]) -> tuple[Path, Path]:
    """The folder of the package that a function belongs to (of its module, if it has none), and its file."""
    file = Path(function.__code__.co_filename).resolve()
    package = sys.modules.get(function.__module__.partition(".")[0])
    paths = list(getattr(package, "__path__", ()))
    root = Path(paths[0]).resolve() if paths else file
    return (root, file) if file.is_relative_to(root) and root != file else (file, file)


class _Locator(_CacheLocator):  # type: ignore[misc]
    """Tells Numba where the cache of one kernel is."""

    def __init__(self, function: Callable[..., object]) -> None:
        self._py_file = function.__code__.co_filename  # Numba names it in its warnings
        root, file = _home(function)
        self.key = _key(root, file)
        self.module = function.__module__
        self.folder = cast(Path, cache_folder()) / self.key

    @classmethod
    def from_function(cls, py_func: Callable[..., object], py_file: str) -> _Locator:
        return cls(py_func)

    def ensure_cache_path(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _forget_old(self.folder)

    def get_cache_path(self) -> str:
        return str(self.folder)

    def get_source_stamp(self) -> str:
        return self.key

    def get_disambiguator(self) -> str:
        return hashlib.sha256(self.module.encode()).hexdigest()[:8]  # two modules may share file name and kernel name


class _CacheFiles(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = [_Locator]  # noqa: RUF012 (Numba's attribute)


class _Uncached(NullCache):  # type: ignore[misc]
    """Keeps nothing: there is no folder that could be written."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        _tell()


class _KernelCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache in our folder, with writers one at a time, and no error that could stop a job."""

    _impl_class = _CacheFiles

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        loaded = None
        try:
            loaded = super().load_overload(sig, target_context)
        except _DAMAGED as error:
            logger.debug("compiled kernel %s is unreadable, so it is compiled again: %r", self._name, error)
            with suppress(OSError):
                os.unlink(self._cache_file._index_path)
        if loaded is None:
            _tell()
        return loaded

    def save_overload(self, sig: Any, data: Any) -> None:
        # Two processes that add to one index at once could leave a signature that names the other's code.
        try:
            self._impl.locator.ensure_cache_path()
            with _locked(Path(self._impl.locator.get_cache_path()) / "lock"):
                super().save_overload(sig, data)
        except _DAMAGED as error:
            logger.debug("compiled kernel %s is not kept on disk: %r", self._name, error)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _forget_old(newest: Path) -> None:
    """Remove the folders of versions of the source that were replaced long ago."""
    with suppress(OSError):
        others = sorted(
            (folder for folder in newest.parent.iterdir() if folder != newest and folder.is_dir()),
            key=lambda folder: folder.stat().st_mtime,
        )
        for folder in others[: max(0, len(others) + 1 - KEPT_VERSIONS)]:
            shutil.rmtree(folder, ignore_errors=True)
