"""A model's file as the flat arrays that its kernels take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wildsage.algorithms.blazingtext.fasttext_file import CENTROIDS, QuantisedRows, TableRows
from wildsage.algorithms.blazingtext.kernels.predict import END, HALVES, Dictionary, index_entries

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from wildsage.algorithms.blazingtext.fasttext_file import FastTextFile, Rows


@dataclass(frozen=True)
class Tables:
    """See kernels/predict.py, answer_texts, for what each is."""

    slots: NDArray[np.uint64]
    entries: NDArray[np.uint8]
    word_bytes: NDArray[np.uint8]
    bucket_bytes: NDArray[np.uint8]
    bucket_at: NDArray[np.int32]
    output_bytes: NDArray[np.uint8]
    centroids: NDArray[np.float32]
    orders: NDArray[np.int64]

    @classmethod
    def of(cls, file: FastTextFile) -> Tables:
        settings = file.settings
        slots = np.zeros(2 << int(file.places.size).bit_length(), np.uint64)
        eos = index_entries(file.entries, file.places, slots)
        bucket_at = np.empty(0, np.int32)
        if file.bucket_ids is not None:
            bucket_at = np.full(settings.bucket, -1, np.int32)
            rows = file.bucket_rows
            places = rows.places if isinstance(rows, TableRows) else np.arange(file.bucket_ids.size, dtype=np.int32)
            bucket_at[file.bucket_ids] = places
        words, buckets, output = file.word_rows, file.bucket_rows, file.output
        dsub = words.dsub if isinstance(words, QuantisedRows) else 0
        if isinstance(buckets, TableRows) and buckets.table.dtype == np.float16:
            dsub = HALVES
        centroids = [quantised_centroids(rows) for rows in (words, output) if isinstance(rows, QuantisedRows)]
        orders = [
            settings.word_ngrams,
            settings.minn,
            settings.maxn,
            settings.bucket,
            file.pruned,
            settings.dim,
            dsub,
            output.dsub if isinstance(output, QuantisedRows) else 0,
            settings.loss,
            int(eos),
        ]
        return cls(
            slots,
            file.entries,
            as_bytes(words),
            as_bytes(buckets),
            bucket_at,
            as_bytes(output),
            np.concatenate(centroids) if centroids else np.empty(0, np.float32),
            np.array(orders, np.int64),
        )

    @property
    def dictionary(self) -> Dictionary:
        return Dictionary(self.slots, self.entries, self.word_bytes.shape[0], int(self.orders[END]))


def as_bytes(rows: Rows) -> NDArray[np.uint8]:
    """The rows as read-only bytes, so that mapped and trained ones are of one type, and one kernel answers for both."""
    if isinstance(rows, QuantisedRows):
        view = quantised_codes(rows)
    else:
        view = (rows.table if isinstance(rows, TableRows) else rows).view(np.uint8)
    view.flags.writeable = False
    return view


def quantised_codes(rows: QuantisedRows) -> NDArray[np.uint8]:
    """uint8 (n, width): each row's codes, then the code of its norm, so that one fetch brings both.

    The width is a multiple of 4, since the kernels also look at these bytes as floats, though never use them.
    """
    parts = rows.codes.shape[1]
    table = np.zeros((rows.shape[0], -(-(parts + 1) // 4) * 4), np.uint8)
    table[:, :parts] = rows.codes
    if rows.norms.size:
        table[:, parts] = rows.norm_codes
    return table


def quantised_centroids(rows: QuantisedRows) -> NDArray[np.float32]:
    """float32 (256 * (dim + 1),): the centroids as in the file, then the norms; all 1 where none are quantised."""
    norms = rows.norms if rows.norms.size else np.ones(CENTROIDS, np.float32)
    return np.concatenate([rows.centroids, norms])
