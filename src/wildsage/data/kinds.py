"""What the rows of a channel are that declares no content type: its first bytes say."""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

from wildsage.contract import content_types
from wildsage.contract.channels import InputMode
from wildsage.contract.record import MAGIC
from wildsage.data.channel import GZIP

if TYPE_CHECKING:
    from wildsage.contract.channels import Channel

HEAD_BYTES = 1 << 16
_LIBSVM_ROW = re.compile(rb"\s*[^\s:,;|]+(?::[^\s:]+)?(?:\s+(?:qid:\d+\s+)?\d+:[^\s:]+)+\s*")


def kind_of(channel: Channel) -> str:
    """The content type that a channel declares, or what its first file with anything in it is; else CSV.

    The service takes rows without a declared type for RecordIO-protobuf, and XGBoost's for libsvm: what is either is
    taken for it here, too. A pipe, which can be read only once, is CSV.
    """
    if channel.content_type:
        return channel.content_type
    if channel.input_mode is InputMode.PIPE:
        return content_types.CSV
    for path in channel.files():
        if not path.is_file():  # a named pipe would be emptied
            break
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
            if head.startswith(GZIP):
                with gzip.open(path) as unpacked:
                    head = unpacked.read(HEAD_BYTES)
        except (OSError, EOFError):
            continue
        if head.strip():
            return kind_of_bytes(head)
    return content_types.CSV


def kind_of_bytes(head: bytes) -> str:
    """The content type of rows that begin like this, which are not all blank."""
    if head.startswith(b"PAR1"):
        return content_types.PARQUET
    if head.startswith(MAGIC):
        return content_types.RECORDIO_PROTOBUF
    if head.startswith(b"{"):
        return content_types.JSON_LINES
    return content_types.LIBSVM if _LIBSVM_ROW.fullmatch(head.lstrip().splitlines()[0]) else content_types.CSV
