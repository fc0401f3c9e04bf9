"""`sagemaker.amazon.common`: where SageMaker's notebooks look for RecordIO-protobuf (`import … as smac`)."""

from __future__ import annotations

from wildsage.sdk.deserializers import RecordDeserializer
from wildsage.sdk.records import (
    read_recordio,
    read_records,
    write_numpy_to_dense_tensor,
    write_spmatrix_to_sparse_tensor,
)
from wildsage.sdk.serializers import RecordSerializer

__all__ = [
    "RecordDeserializer",
    "RecordSerializer",
    "read_recordio",
    "read_records",
    "write_numpy_to_dense_tensor",
    "write_spmatrix_to_sparse_tensor",
]
