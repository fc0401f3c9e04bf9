"""Small files, written whole or not at all, and JSON read with the place of what is wrong in it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any, NoReturn

from wildsage.contract.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def write_atomically(path: Path, data: str | bytes, *, durable: bool = False, mode: int = 0o666) -> None:
    """Write a file under a temporary name beside it, then rename: a reader sees the old file or the new one.

    Text is written as UTF-8; a lone surrogate, which UTF-8 cannot hold, becomes its escape.
    durable: on the disk before the rename, so that a power cut too leaves the old file or the new one. mode: of the
    file, less the process's mask.
    """
    raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    # The thread's id too: two threads of one process may write the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with open(_created(temporary, mode), "wb") as file:
            file.write(raw)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # Quietly: where even this fails, the first error is the one to tell.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _created(path: Path, mode: int) -> int:
    """The descriptor of a new file, in a folder that is made if it is not there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        return os.open(path, flags, mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, mode)


def write_json(path: Path, value: Any, *, durable: bool = False, mode: int = 0o666) -> None:
    """Write a value as strict JSON (no NaN), whole or not at all. durable, mode: as in write_atomically."""
    write_atomically(path, json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n", durable=durable, mode=mode)


def parse_json(text: str | bytes, *, file: str | Path | None = None) -> Any:
    """Read strict JSON: UTF-8, no NaN, no key twice in one object. Raises DataError with line and column."""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError("the text is not UTF-8", file=file, byte=error.start) from error
    try:
        return json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        # The file may end inside a line, and then "line 1, column 1" alone would puzzle its reader.
        ends = " (the file ends there)" if error.pos >= len(text.rstrip()) else ""
        reason = f"not valid JSON: {error.msg}{ends}"
        raise DataError(reason, file=file, line=error.lineno, column=error.colno) from error
    except RecursionError as error:
        raise DataError("not valid JSON: nested too deeply", file=file) from error
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}", file=file) from error


def read_json(path: Path) -> Any:
    """Read a strict JSON file. Raises DataError with file, line and column; FileNotFoundError where there is none."""
    return parse_json(path.read_bytes(), file=path)


def read_json_object(path: Path, meaning: str) -> dict[str, Any]:
    """Read a JSON file that holds an object; `meaning` says of what, such as "channel names to settings"."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{kind_of(value)} is not allowed: one object, {meaning}", file=path)
    return value


def kind_of(value: Any) -> str:
    """The JSON name of a value's type, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    kinds = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def shown(value: Any, limit: int = 100) -> str:
    """A value as an error message shows it: JSON, cut after `limit` characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    # One that UTF-8 cannot hold would break the log that the message goes to.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {shown(key)} is there twice")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
