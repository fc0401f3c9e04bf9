"""The library itself, loaded when it is needed, and its errors as ours."""

from __future__ import annotations

import ctypes
import re
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\] (?:WARNING: )?(?:\S+\.(?:cc|cu|h|cuh):\d+: ?)?")
_CHECK = re.compile(r"^Check failed: (?P<condition>.*?)(?: : |: |$)(?P<reason>.*)", re.DOTALL)


def library() -> Any:
    """The module xgboost. Raises ClientError with the line that installs it."""
    try:
        import xgboost
    except ImportError as error:
        raise ClientError(f'xgboost needs the package xgboost: pip install "wildsage[xgboost]" ({error})') from error
    return xgboost


@contextmanager
def errors_of_the_library(doing: str) -> Iterator[None]:
    """Raise what the library says against parameters or data as ClientError, without its stack trace."""
    failure = library().core.XGBoostError
    try:
        yield
    except failure as error:
        raise ClientError(f"{doing}: {reason(str(error))}") from error


def quick_round(handle: Any, train: Any, evals: Sequence[tuple[Any, str]]) -> Callable[[int], str]:
    """A round of a booster that has had one by update and eval_set, by the same functions of the library.

    Before each of them the package compares the names of all features again, a tenth of a round of a millisecond.
    """
    core = library().core
    update, evaluate, check = core._LIB.XGBoosterUpdateOneIter, core._LIB.XGBoosterEvalOneIter, core._check_call
    matrices = (ctypes.c_void_p * len(evals))(*(matrix.handle for matrix, _ in evals))
    names = (ctypes.c_char_p * len(evals))(*(name.encode() for _, name in evals))
    count, said = ctypes.c_uint64(len(evals)), ctypes.c_char_p()

    def run(number: int) -> str:
        check(update(handle.handle, ctypes.c_int(number), train.handle))
        check(evaluate(handle.handle, ctypes.c_int(number), matrices, names, count, ctypes.byref(said)))
        return (said.value or b"").decode()

    return run


@contextmanager
def warnings_of_the_library(say: Callable[[str], None]) -> Iterator[None]:
    """Tell the user what the library warns of, each once."""
    told: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = reason(str(message))
        if text not in told:
            told.add(text)
            say(f"XGBoost warns: {text}")

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def reason(text: str) -> str:
    """What an error of the library says to a user: without time, place in its source and stack trace."""
    lines = text.split("Stack trace:", 1)[0].strip().splitlines()
    said = _STAMP.sub("", " ".join(line.strip() for line in lines)).strip()
    check = _CHECK.match(said)
    if check is not None and check["reason"].strip():
        said = check["reason"].strip()
    return said or "the library gives no reason"
