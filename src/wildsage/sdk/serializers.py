"""Python objects to the body of a request. Each serializer names the content type that it makes."""

from __future__ import annotations

import csv
import io
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from wildsage.sdk.exceptions import ArgumentError


def _is_array(data: object) -> bool:
    """Whether it is a NumPy array; NumPy is not loaded to find out."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(data, numpy.ndarray)


def _is_dataframe(data: object) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _plain(value: Any) -> Any:
    """json.dumps's last resort: arrays and scalars of NumPy become lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} can not be written as JSON")


def _json(data: Any) -> str:
    try:
        return json.dumps(data, default=_plain)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"the data can not be written as JSON: {error}") from None


def _refuse(serializer: object, data: object, allowed: str) -> ArgumentError:
    return ArgumentError(f"{type(serializer).__name__} can not take a {type(data).__name__}: {allowed}")


class BaseSerializer(ABC):
    """Turns data into the body of a request."""

    @abstractmethod
    def serialize(self, data: Any) -> Any:
        """Return the body: bytes or text. Raises ArgumentError for data that this serializer cannot take."""

    @property
    @abstractmethod
    def CONTENT_TYPE(self) -> str:  # noqa: N802 - SageMaker's name
        """The content type of the body."""


class SimpleBaseSerializer(BaseSerializer):
    """A serializer whose content type is given."""

    def __init__(self, content_type: str = "application/json") -> None:
        if not isinstance(content_type, str):
            raise ArgumentError(f"content_type = {content_type!r} is not allowed: text such as 'text/csv'")
        self.content_type = content_type

    @property
    def CONTENT_TYPE(self) -> str:  # noqa: N802
        return self.content_type


class PythonSerializer(SimpleBaseSerializer):
    """What a predictor uses when it is given none: bytes and text go as they are, other objects as JSON."""

    def __init__(self, content_type: str = "application/octet-stream") -> None:
        super().__init__(content_type)

    @staticmethod
    def is_raw(data: object) -> bool:
        """Whether the data is a body already: bytes, text or something that can be read."""
        return isinstance(data, (str, bytes, bytearray, memoryview)) or hasattr(data, "read")

    def serialize(self, data: Any) -> Any:
        return data if self.is_raw(data) else _json(data)


class CSVSerializer(SimpleBaseSerializer):
    """Rows to CSV: a row, a list of rows, an array, a pandas DataFrame, text, or a file."""

    def __init__(self, content_type: str = "text/csv") -> None:
        super().__init__(content_type)

    def serialize(self, data: Any) -> Any:
        if hasattr(data, "read"):
            return data.read()
        if isinstance(data, (str, bytes)):
            return data
        if _is_dataframe(data):
            return data.to_csv(header=False, index=False)
        try:
            rows = list(data)
        except TypeError:
            raise _refuse(self, data, "a row, a list of rows, an array, a DataFrame, text or a file") from None
        if not rows:
            raise ArgumentError("there is nothing to send: the data is empty")
        # Text in a list is a line each; in a tuple, a value each: as SageMaker's SDK has it.
        nested = hasattr(data, "__setitem__") if isinstance(rows[0], str) else hasattr(rows[0], "__iter__")
        return "\n".join(self._row(row) for row in rows) if nested else self._row(rows)

    @staticmethod
    def _row(row: Any) -> str:
        if isinstance(row, str):
            return row
        values = list(row.reshape(-1) if _is_array(row) else row)
        if not values:
            raise ArgumentError("a row of the data is empty")
        buffer = io.StringIO()
        csv.writer(buffer).writerow(values)  # with its own line end, so that cells that hold one are quoted
        return buffer.getvalue().removesuffix("\r\n")


class NumpySerializer(SimpleBaseSerializer):
    """An array, or what becomes one, to the .npy format. Arrays of Python objects are refused: they need pickle."""

    def __init__(self, dtype: Any = None, content_type: str = "application/x-npy") -> None:
        super().__init__(content_type)
        self.dtype = dtype

    def serialize(self, data: Any) -> Any:
        import numpy as np

        if hasattr(data, "read"):
            return data.read()
        array = data if isinstance(data, np.ndarray) else np.asarray(data, self.dtype)
        if array.size == 0:
            raise ArgumentError("there is nothing to send: the array is empty")
        buffer = io.BytesIO()
        try:
            np.save(buffer, array, allow_pickle=False)
        except ValueError as error:
            raise ArgumentError(f"an array of {array.dtype} can not be sent: {error}") from None
        return buffer.getvalue()


class JSONSerializer(SimpleBaseSerializer):
    """Any object that JSON has a form for, arrays too, or a file of JSON."""

    def serialize(self, data: Any) -> Any:
        return data.read() if hasattr(data, "read") else _json(data)


class IdentitySerializer(SimpleBaseSerializer):
    """The data as it is."""

    def __init__(self, content_type: str = "application/octet-stream") -> None:
        super().__init__(content_type)

    def serialize(self, data: Any) -> Any:
        return data


class JSONLinesSerializer(SimpleBaseSerializer):
    """A list of objects to a JSON value a line; text or a file goes as it is."""

    def __init__(self, content_type: str = "application/jsonlines") -> None:
        super().__init__(content_type)

    def serialize(self, data: Any) -> Any:
        if isinstance(data, (str, bytes)):
            return data
        if hasattr(data, "read"):
            return data.read()
        if isinstance(data, Iterable) and not isinstance(data, Mapping):
            return "\n".join(_json(element) for element in data)
        raise _refuse(self, data, "a list of objects, text or a file")


class SparseMatrixSerializer(SimpleBaseSerializer):
    """A sparse matrix of SciPy to the .npz format."""

    def __init__(self, content_type: str = "application/x-npz") -> None:
        super().__init__(content_type)

    def serialize(self, data: Any) -> Any:
        try:
            from scipy import sparse  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            raise ArgumentError("SparseMatrixSerializer needs SciPy: pip install scipy") from None
        buffer = io.BytesIO()
        sparse.save_npz(buffer, data)
        return buffer.getvalue()


class LibSVMSerializer(SimpleBaseSerializer):
    """Text that is in libsvm format already, or a file of it."""

    def __init__(self, content_type: str = "text/libsvm") -> None:
        super().__init__(content_type)

    def serialize(self, data: Any) -> Any:
        if isinstance(data, str):
            return data
        if hasattr(data, "read"):
            return data.read()
        raise _refuse(self, data, "text in libsvm format or a file")


class DataSerializer(SimpleBaseSerializer):
    """The bytes of the file at a path; bytes go as they are."""

    def __init__(self, content_type: str = "file-path/raw-bytes") -> None:
        super().__init__(content_type)

    def serialize(self, data: Any) -> Any:
        if isinstance(data, Mapping) and "data" in data:
            data = data["data"]
        if isinstance(data, bytes):
            return data
        if not isinstance(data, str):
            raise _refuse(self, data, "a path or bytes")
        try:
            with open(data, "rb") as file:
                return file.read()
        except OSError as error:
            raise ArgumentError(f"can not read {data}: {error.strerror}") from None


class StringSerializer(SimpleBaseSerializer):
    """Text to UTF-8."""

    def __init__(self, content_type: str = "text/plain") -> None:
        super().__init__(content_type)

    def serialize(self, data: Any) -> Any:
        if isinstance(data, str):
            return data.encode()
        raise _refuse(self, data, "text")


class RecordSerializer(SimpleBaseSerializer):
    """An array, a row or rows, to records of RecordIO-protobuf."""

    def __init__(self, content_type: str = "application/x-recordio-protobuf") -> None:
        super().__init__(content_type)

    def serialize(self, data: Any) -> Any:
        from wildsage.sdk.records import write_numpy_to_dense_tensor

        if not _is_array(data):
            raise _refuse(self, data, "an array of one or two dimensions")
        if data.ndim not in (1, 2):
            raise ArgumentError(f"an array of {data.ndim} dimensions is not allowed: 1, a row, or 2, rows")
        buffer = io.BytesIO()
        write_numpy_to_dense_tensor(buffer, data.reshape(1, -1) if data.ndim == 1 else data)
        buffer.seek(0)
        return buffer
