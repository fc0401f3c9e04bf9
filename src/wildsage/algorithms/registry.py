"""Name or alias to algorithm, through the entry points `wildsage.algorithms`; nothing is loaded before it is asked for.

A package adds an algorithm with one entry point: the name on the left, "module:Class" of an Algorithm on the right.
"""

from __future__ import annotations

import logging
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from wildsage.algorithms.base import Algorithm
from wildsage.contract.builtins import GROUP, installed, resolve
from wildsage.contract.errors import AlgorithmError, ClientError

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


def names() -> list[str]:
    """The algorithms that can be trained here, in order of name."""
    return list(installed())


def get(name: str) -> type[Algorithm[Any]]:
    """Load an algorithm by its name, an alias or the URI of its image.

    Raises ClientError for one that there is not, AlgorithmError for one whose package is broken.
    """
    canonical = resolve(name)
    found = list(entry_points(group=GROUP, name=canonical))
    if not found:
        raise ClientError(f"{canonical} cannot be trained by this version yet; there are {', '.join(names())}")
    try:
        loaded = found[0].load()
    except Exception as error:  # a package may break in any way while it is imported
        raise AlgorithmError(f"algorithm {canonical}: {found[0].value} cannot be imported: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Algorithm)):
        raise AlgorithmError(f"algorithm {canonical}: {found[0].value} is not a subclass of Algorithm")
    return loaded


def recognise(folder: Path) -> str:
    """Which algorithm can load a model folder. Raises ClientError, saying what is in the folder, if none can.

    An algorithm whose package is broken is passed over with a warning.
    """
    if not folder.is_dir():
        raise ClientError(f"{folder} is not a folder of a model")
    kinds, asked = {}, []
    for name in names():
        try:
            kind = get(name).model_in(folder)
        except Exception as error:  # noqa: BLE001 (a third party's own code)
            logger.warning("Algorithm %s cannot say whether it knows the model, and is passed over: %s", name, error)
        else:
            asked.append(name)
            if kind is not None:
                kinds[name] = kind
    for name, kind in kinds.items():
        # A special kind of another algorithm's models is its own, though the other could load it, too.
        if not any(other is not kind and issubclass(other, kind) for other in kinds.values()):
            return name
    held = sorted(path.name for path in folder.iterdir())
    listed = ", ".join(held[:10]) + (", …" if len(held) > 10 else "")
    raise ClientError(f"{folder} holds the model of no algorithm here ({', '.join(asked)}): {listed or 'it is empty'}")
