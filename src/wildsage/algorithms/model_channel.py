"""Channel `model`: a model that training goes on from, as a folder of its files or as its model.tar.gz."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.files import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wildsage.algorithms.base import Model
    from wildsage.algorithms.context import TrainingContext
    from wildsage.contract.channels import Channel

CHANNEL = "model"
ARCHIVES = (".tar.gz", ".tgz", ".tar")
MOST_MEMBERS = 10_000
PIECE = 1 << 20  # bytes copied at once

M = TypeVar("M", bound="Model")


def earlier_model(context: TrainingContext[Any], kind: type[M], algorithm: str) -> M | None:
    """The model to go on from; None where the job has none. Raises what `model_folder` and `kind.load` raise."""
    if CHANNEL not in context.channels:
        return None
    with model_folder(context.channels[CHANNEL], kind, algorithm) as folder:
        return kind.load(folder)


def refuse_misfit(problems: Sequence[str]) -> None:
    """Raise ClientError that says all in which the model does not fit the job, if there is anything."""
    if problems:
        raise ClientError(f"channel {CHANNEL}: {'; '.join(problems)}")


@contextmanager
def model_folder(channel: Channel, kind: type[Model], algorithm: str) -> Iterator[Path]:
    """The folder in a channel that `kind` recognises: its own, one below it, or one inside its only archive.

    What an archive holds is unpacked for as long as the block lasts; what is mapped outlives it. algorithm: whose
    model is wanted, for messages. Raises DataError for an archive that is damaged or unsafe, ClientError where there is
    no such model, or more than one archive.
    """
    files = channel.files()
    found = _recognised(channel.path, files, kind)
    if found is not None:
        yield found
        return
    archives = [file for file in files if file.name.endswith(ARCHIVES)]
    if len(archives) > 1:
        names = ", ".join(file.name for file in archives)
        raise ClientError(f"channel {channel.name} has several archives, and one model is wanted: {names}")
    if not archives:
        names = ", ".join(file.name for file in files[:5]) or "nothing"
        raise ClientError(
            f"channel {channel.name} holds no model of {algorithm}: its files or its model.tar.gz; found {names}"
        )
    with tempfile.TemporaryDirectory(prefix="wildsage-model-") as scratch:
        folder = Path(scratch)
        unpacked = _unpack(archives[0], folder)
        found = _recognised(folder, unpacked, kind)
        if found is None:
            names = ", ".join(str(file.relative_to(folder)) for file in unpacked[:5]) or "nothing"
            raise DataError(f"holds no model of {algorithm}; found {names}", file=archives[0])
        yield found


def _recognised(folder: Path, files: list[Path], kind: type[Model]) -> Path | None:
    """The folder, or the first of those that its files lie in, that holds a model of this kind."""
    if not folder.is_dir():
        return None
    candidates = dict.fromkeys([folder, *(file.parent for file in files)])
    return next((candidate for candidate in candidates if kind.recognises(candidate)), None)


def _unpack(archive: Path, folder: Path) -> list[Path]:
    """Unpack the plain files of an archive, and nothing outside the folder; returns them, in order of name.

    Links, devices and the like are left out: a model needs none. Nothing of a member's owner or mode is kept.
    """
    made: set[Path] = set()
    try:
        with tarfile.open(archive) as opened:
            for number, member in enumerate(opened):
                if number >= MOST_MEMBERS:
                    raise DataError(f"more than {MOST_MEMBERS:,} members are not allowed", file=archive)
                if not member.isreg():
                    continue
                path = folder / _safe(member.name, archive)
                free = shutil.disk_usage(folder).free
                if member.size > free:
                    what = f"{shown(member.name)} takes {member.size:,} bytes, and {free:,} are free in {folder.parent}"
                    raise DataError(what, file=archive)
                path.parent.mkdir(parents=True, exist_ok=True)
                source = opened.extractfile(member)
                if source is not None:
                    with source, path.open("wb") as file:
                        shutil.copyfileobj(source, file, PIECE)
                    made.add(path)
    # Damage in headers makes tarfile raise the last ones, too.
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, OverflowError, IndexError, KeyError) as error:
        raise DataError(f"cannot be unpacked: {error}", file=archive) from error
    return sorted(made)


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise DataError(f"a member named {shown(name)} is not allowed: it would lie outside the model", file=archive)
    return path
