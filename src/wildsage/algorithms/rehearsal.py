"""Small jobs of an algorithm, gone through so that its kernels are compiled before the first real one."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wildsage.algorithms.context import Silence, TrainingContext
from wildsage.contract.channels import Channel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wildsage.algorithms.base import Algorithm, Model


def rehearse(
    algorithm: type[Algorithm[Any]],
    content: bytes,
    content_type: str,
    *,
    channels: Sequence[str] = ("train",),
    threads: int = 1,
    **hyperparameters: Any,
) -> Model:
    """Train on a file with this content as each of the channels, save the model, load it, warm it up and return it.

    What the model maps outlives its files.
    """
    with tempfile.TemporaryDirectory(prefix="wildsage-rehearsal-") as name:
        base = Path(name)
        (base / "data").mkdir()
        (base / "model").mkdir()
        (base / "data" / "rows").write_bytes(content)
        context: TrainingContext[Any] = TrainingContext(
            algorithm.hyperparameters.parse(hyperparameters),
            {channel: Channel(channel, base / "data", content_type) for channel in channels},
            base / "output",
            base / "checkpoints",
            Silence(),
            threads=threads,
        )
        algorithm().train(context).save(base / "model")
        model = algorithm.load(base / "model")
        model.warm_up()
        return model
