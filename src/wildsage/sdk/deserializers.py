"""The body of an answer to Python objects. Each deserializer names the content types that it asks for."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from wildsage.sdk.exceptions import ArgumentError, unsupported

if TYPE_CHECKING:
    from wildsage.sdk.records import Record


class Stream(Protocol):
    """What a response's Body can do, as botocore's StreamingBody."""

    def read(self) -> bytes: ...

    def close(self) -> None: ...


def _read(stream: Stream) -> bytes:
    try:
        return stream.read()
    finally:
        stream.close()


def _bare(content_type: str) -> str:
    """The content type without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


class BaseDeserializer(ABC):
    """Turns the body of an answer into an object."""

    @abstractmethod
    def deserialize(self, stream: Stream, content_type: str) -> Any:
        """Read and close the stream; return its content as an object."""

    @property
    @abstractmethod
    def ACCEPT(self) -> Sequence[str]:  # noqa: N802 - SageMaker's name
        """The content types to ask for."""


class SimpleBaseDeserializer(BaseDeserializer):
    """A deserializer whose content types are given. accept: one, or a tuple of them."""

    def __init__(self, accept: str | Sequence[str] = "*/*") -> None:
        self.accept = accept

    @property
    def ACCEPT(self) -> Sequence[str]:  # noqa: N802
        return (self.accept,) if isinstance(self.accept, str) else self.accept


class PythonDeserializer(SimpleBaseDeserializer):
    """What a predictor uses when it is given none: JSON and JSON Lines to objects, anything else as bytes."""

    def __init__(self, accept: str | Sequence[str] = "application/json") -> None:
        super().__init__(accept)

    def deserialize(self, stream: Stream, content_type: str) -> Any:
        body = _read(stream)
        kind = _bare(content_type)
        if kind == "application/json":
            return json.loads(body)
        if kind in ("application/jsonlines", "application/x-jsonlines"):
            return [json.loads(line) for line in body.splitlines() if line.strip()]
        return body


class StringDeserializer(SimpleBaseDeserializer):
    """The body as text."""

    def __init__(self, encoding: str = "UTF-8", accept: str | Sequence[str] = "application/json") -> None:
        super().__init__(accept)
        self.encoding = encoding

    def deserialize(self, stream: Stream, content_type: str) -> str:
        return _read(stream).decode(self.encoding)


class BytesDeserializer(SimpleBaseDeserializer):
    """The body as it is."""

    def deserialize(self, stream: Stream, content_type: str) -> bytes:
        return _read(stream)


class CSVDeserializer(SimpleBaseDeserializer):
    """CSV to a list of rows, each a list of texts."""

    def __init__(self, encoding: str = "utf-8", accept: str | Sequence[str] = "text/csv") -> None:
        super().__init__(accept)
        self.encoding = encoding

    def deserialize(self, stream: Stream, content_type: str) -> list[list[str]]:
        # newline="" leaves line ends to the CSV reader, which knows those inside quotes.
        return list(csv.reader(io.StringIO(_read(stream).decode(self.encoding), newline="")))


class StreamDeserializer(SimpleBaseDeserializer):
    """The open stream and its content type; the caller closes it."""

    def deserialize(self, stream: Stream, content_type: str) -> tuple[Stream, str]:
        return stream, content_type


class NumpyDeserializer(SimpleBaseDeserializer):
    """CSV, JSON, .npy or .npz to a NumPy array (.npz: a mapping of arrays). Arrays of objects are never loaded."""

    def __init__(
        self, dtype: Any = None, accept: str | Sequence[str] = "application/x-npy", allow_pickle: bool = False
    ) -> None:
        super().__init__(accept)
        if allow_pickle:
            unsupported("NumpyDeserializer(allow_pickle=True)", "An answer that is unpickled can run any code.")
        self.dtype = dtype
        self.allow_pickle = False

    def deserialize(self, stream: Stream, content_type: str) -> Any:
        import numpy as np

        body, kind = _read(stream), _bare(content_type)
        if kind == "text/csv":
            return np.genfromtxt(io.StringIO(body.decode()), delimiter=",", dtype=self.dtype)
        if kind == "application/json":
            return np.array(json.loads(body), dtype=self.dtype)
        if kind in ("application/x-npy", "application/x-npz"):
            return np.load(io.BytesIO(body), allow_pickle=False)
        raise ArgumentError(f"NumpyDeserializer can not read {content_type}: CSV, JSON, x-npy or x-npz")


class JSONDeserializer(SimpleBaseDeserializer):
    """JSON to an object."""

    def __init__(self, accept: str | Sequence[str] = "application/json") -> None:
        super().__init__(accept)

    def deserialize(self, stream: Stream, content_type: str) -> Any:
        return json.loads(_read(stream))


class PandasDeserializer(SimpleBaseDeserializer):
    """CSV, or JSON by columns, to a pandas DataFrame."""

    def __init__(self, accept: str | Sequence[str] = ("text/csv", "application/json")) -> None:
        super().__init__(accept)

    def deserialize(self, stream: Stream, content_type: str) -> Any:
        try:
            import pandas as pd  # type: ignore[import-not-found,import-untyped,unused-ignore]
        except ImportError:
            raise ArgumentError("PandasDeserializer needs pandas: pip install pandas") from None
        body, kind = io.BytesIO(_read(stream)), _bare(content_type)
        if kind == "text/csv":
            return pd.read_csv(body)
        if kind == "application/json":
            return pd.read_json(body)
        raise ArgumentError(f"PandasDeserializer can not read {content_type}: text/csv or application/json")


class JSONLinesDeserializer(SimpleBaseDeserializer):
    """A JSON value a line to a list of objects."""

    def __init__(self, accept: str | Sequence[str] = "application/jsonlines") -> None:
        super().__init__(accept)

    def deserialize(self, stream: Stream, content_type: str) -> list[Any]:
        return [json.loads(line) for line in _read(stream).splitlines() if line.strip()]


class RecordDeserializer(SimpleBaseDeserializer):
    """Records of RecordIO-protobuf to a list of them: `records[0].label["score"].float32_tensor.values`."""

    def __init__(self, accept: str | Sequence[str] = "application/x-recordio-protobuf") -> None:
        super().__init__(accept)

    def deserialize(self, data: Stream, content_type: str) -> list[Record]:
        from wildsage.sdk.records import read_records

        return read_records(io.BytesIO(_read(data)))
