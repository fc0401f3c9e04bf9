"""Compile the kernels that read rows, so that the first job need not: an algorithm's warm_up calls it."""

from __future__ import annotations

import io

import numpy as np

from wildsage.contract import content_types
from wildsage.contract.record import frame
from wildsage.data.readers import read_body
from wildsage.data.record import Record, Tensor, encode
from wildsage.data.recordio import write_numpy_to_dense_tensor

CONTENT_TYPES = (content_types.CSV, content_types.LIBSVM, content_types.RECORDIO_PROTOBUF)


def warm_up(*kinds: str) -> None:
    """Read a few rows of these content types, or of all that have kernels, one row in each way there is."""
    file = io.BytesIO()
    write_numpy_to_dense_tensor(file, np.ones((2, 2), np.float32), np.ones(2, np.float32))
    write_numpy_to_dense_tensor(file, np.ones((1, 2)), np.ones(1, np.float32))
    sparse = frame(encode(Record({"values": Tensor(np.ones(1, np.float32), np.ones(1, np.int64), (2,))})))
    for kind in kinds or CONTENT_TYPES:
        if kind == content_types.RECORDIO_PROTOBUF:
            read_body(file.getvalue(), kind, label_width=1)
            read_body(sparse, kind)
        elif kind == content_types.LIBSVM:
            read_body(b"1 0:1\n", kind, label_width=1)
        elif kind == content_types.CSV:
            read_body(b"1,2\n", kind, label_width=1)
