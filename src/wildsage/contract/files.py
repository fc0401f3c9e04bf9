"""Small files, written whole or not at all, and JSON read with the place of what is wrong in it."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import IO, TYPE_CHECKING, Any, NoReturn

from wildsage.contract.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BESIDE = re.compile(r"\..*\.[0-9a-f]{12}\.new", re.DOTALL)


def beside_name(path: Path) -> Path:
    """A new hidden name in the same folder, to write under until the thing is whole."""
    return path.with_name(f".{path.name[:100]}.{os.urandom(6).hex()}.new")


def is_beside_name(name: str) -> bool:
    """Whether a file or folder of this name is being written, or was when its writer was killed."""
    return _BESIDE.fullmatch(name) is not None


@contextlib.contextmanager
def new_file(path: Path, *, durable: bool = False, mode: int = 0o666, make_folder: bool = True) -> Iterator[IO[bytes]]:
    """A file that appears under its name when the block has ended well; it leaves nothing when that fails.

    durable: on the disk before it appears, so that a power cut leaves the old file or the new one. mode: less the
    umask. make_folder: make the file's folder where there is none.
    """
    if make_folder:
        path.parent.mkdir(parents=True, exist_ok=True)
    beside = beside_name(path)
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):  # as that of the folder, if it is the reason
            beside.unlink()
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in this folder last; some file systems cannot, and then it need not."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomically(
    path: Path, data: str | bytes, *, durable: bool = False, mode: int = 0o666, make_folder: bool = True
) -> None:
    """Write a whole file as `new_file` does: a reader sees the old one or the new one.

    Text is written as UTF-8; a lone surrogate, which UTF-8 cannot hold, becomes its escape.
    """
    raw = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    with new_file(path, durable=durable, mode=mode, make_folder=make_folder) as file:
        file.write(raw)


def write_json(path: Path, value: Any, *, durable: bool = False, mode: int = 0o666, make_folder: bool = True) -> None:
    """Write a value as strict JSON (no NaN), whole or not at all."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text, durable=durable, mode=mode, make_folder=make_folder)


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
