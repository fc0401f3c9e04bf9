"""Records against what really runs, for a whole list at once. A single record is looked at when it is described."""

from __future__ import annotations

import logging
from collections.abc import Callable

from wildsage.contract.errors import WildsageError
from wildsage.platform.context import Context
from wildsage.platform.names import Kind
from wildsage.platform.records import Record

logger = logging.getLogger(__name__)


def reconcile(context: Context, kind: Kind, look: Callable[[Record], Record | None]) -> None:
    """Look at every record of this home that something stands behind, or should. One that cannot be put right now
    does not keep the others from being told."""
    for record in context.store.unsettled(kind, str(context.home)):
        try:
            look(record)
        except (WildsageError, OSError) as error:
            logger.warning("%s %s could not be put right: %s", kind.words, record.name, error)
