"""Channels of rows of numbers, as the streaming algorithms open them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wildsage.contract.channels import InputMode

if TYPE_CHECKING:
    from wildsage.algorithms.context import TrainingContext
    from wildsage.data.readers import RowStream


def asked_dim(context: TrainingContext[Any]) -> int | None:
    """The hyperparameter feature_dim; None where it is left to the data."""
    asked = context.hyperparameters.feature_dim
    return None if asked == "auto" else int(asked)


def open_rows(
    context: TrainingContext[Any], name: str, *, batch_rows: int, feature_dim: int | None = None, label_width: int = 1
) -> RowStream:
    """A channel's rows as batches; of channel train this worker's share, of others all.

    feature_dim: where it is known already, else what the hyperparameter says. label_width: columns of labels where the
    content type does not say. Raises ClientError or DataError for a channel that has no rows, or a bad first one.
    """
    from wildsage.data.readers import open_channel

    shared = name == "train"
    return open_channel(
        context.channels[name],
        batch_rows=batch_rows,
        feature_dim=feature_dim or asked_dim(context),
        label_width=label_width,
        threads=context.threads,
        rank=context.rank if shared else 0,
        world_size=context.world_size if shared else 1,
        stop=context.stop,
    )


def likely_dim(context: TrainingContext[Any], *, label_width: int = 1) -> int | None:
    """How many features channel train has, before training; None where only reading tells: of a pipe, and of libsvm.

    The first bytes of a pipe must be left to training, which would wait for them for ever.
    """
    asked = asked_dim(context)
    if asked is not None or context.channels["train"].input_mode is InputMode.PIPE:
        return asked
    stream = open_rows(context, "train", batch_rows=1, label_width=label_width)
    stream.close()
    return stream.feature_dim or None
