"""A trained model made small: n-grams and words that hardly count left out, rows as codes of a product quantiser.

After Joulin et al., "FastText.zip: Compressing text classification models", arXiv 1612.03651: feature pruning by norm
(section 4, without its cover of the documents, as in fastText), product quantisation with the norms apart (section 3).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from wildsage.algorithms.blazingtext.fasttext_file import CENTROIDS, FastTextFile, QuantisedRows, dense
from wildsage.algorithms.blazingtext.kernels.quantize import Scratch, encode, gather_columns, lloyd
from wildsage.algorithms.blazingtext.ngrams import EOS
from wildsage.contract.errors import ClientError

logger = logging.getLogger(__name__)

ROUNDS = 25  # of k-means, as in fastText
POINTS = 256 * CENTROIDS  # that k-means looks at, as in fastText
BLOCK = 1 << 16  # rows encoded at a time

Retrain = Callable[[FastTextFile], FastTextFile]


def quantize(
    file: FastTextFile,
    *,
    cutoff: int = 0,
    dsub: int = 2,
    qnorm: bool = True,
    qout: bool = False,
    retrain: Retrain | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> FastTextFile:
    """Prune and quantise a model of float rows; written, it is a .ftz that the fastText package loads.

    cutoff: how many words and n-grams to keep, those of the greatest norm, and always "</s>"; 0 keeps all. dsub:
    columns of a part, each of which becomes a byte. qnorm: quantise a row's norm apart from its direction, for a byte
    more a row. qout: quantise the output rows of a classifier as well, with parts of two columns as in fastText; word
    vectors lose theirs, which answers do not need. retrain: called with the pruned model, still of float rows; gives it
    back with rows trained on, the same words and buckets. threads: all the process may use if left out. The answer
    depends on `seed`, not on the number of threads.
    Raises ClientError for a model that is quantised already, or a value out of its range.
    """
    problems = []
    if cutoff < 0:
        problems.append(f"cutoff = {cutoff} is not allowed: an integer, 0 or more; 0 keeps all")
    if not 1 <= dsub <= file.settings.dim:
        problems.append(f"dsub = {dsub} is not allowed: an integer, 1 to {file.settings.dim}, the model's columns")
    if file.quantised:
        problems.append("the model is quantised already")
    if problems:
        raise ClientError("; ".join(problems))
    if 0 < cutoff < file.word_rows.shape[0] + file.settings.bucket:
        file = prune(file, cutoff)
        if retrain is not None:
            file = retrain(file)
    table, rows_of = _rows_worth_a_code(file)
    output = dense(file.output) if file.supervised else dense(file.output)[:0]
    with ThreadPoolExecutor(threads or _processors()) as pool:
        codes = quantize_rows(table, dsub, qnorm, seed, pool, exact_zero=not file.pruned)[rows_of]
        small = quantize_rows(output, 2, qnorm, seed, pool) if qout and file.supervised else output
    words = file.word_rows.shape[0]
    return replace(
        file,
        word_rows=codes[:words],
        bucket_rows=codes[words:],
        bucket_ids=file.bucket_ids if file.pruned else None,
        output=small,
    )


def _rows_worth_a_code(file: FastTextFile) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The input rows, with those of all zeros but once, at the end; and which of them each word and bucket has."""
    words, buckets = dense(file.word_rows), dense(file.bucket_rows)
    if file.pruned:
        return np.concatenate([words, buckets]), np.arange(len(words) + len(buckets))
    ids = np.arange(len(buckets)) if file.bucket_ids is None else file.bucket_ids
    touched = np.flatnonzero(_norms(buckets) > 0)
    table = np.concatenate([words, buckets[touched], np.zeros((1, file.settings.dim), np.float32)])
    rows_of = np.full(len(words) + file.settings.bucket, len(table) - 1, np.int64)
    rows_of[: len(words)] = np.arange(len(words))
    rows_of[len(words) + ids[touched]] = np.arange(len(words), len(table) - 1)
    return table, rows_of


def prune(file: FastTextFile, cutoff: int) -> FastTextFile:
    """Keep the `cutoff` words and n-grams of the greatest norm, and "</s>" always. Of equal norms the first stay.

    The n-grams that go are no features any more: they do not count in the mean, where a row of zeros does.
    """
    words, buckets = dense(file.word_rows), dense(file.bucket_rows)
    norms = np.concatenate([_norms(words), _norms(buckets)])
    names = file.words()
    if EOS in names:
        norms[names.index(EOS)] = np.inf
    # A bucket of zeros is one that training never touched, and no better than none.
    candidates = np.flatnonzero((norms > 0) | (np.arange(norms.size) < len(names)))
    kept = np.sort(candidates[np.argsort(-norms[candidates], kind="stable")[:cutoff]])
    kept_words, kept_buckets = kept[kept < len(names)], kept[kept >= len(names)] - len(names)
    ids = np.arange(len(buckets)) if file.bucket_ids is None else file.bucket_ids
    labels = np.arange(len(names), file.places.size)
    pieces = np.split(file.entries, file.places[1:])
    entries = [pieces[place] for place in [*kept_words.tolist(), *labels.tolist()]]
    lengths = np.array([piece.size for piece in entries], np.int64)
    return replace(
        file,
        entries=np.concatenate(entries),
        places=np.cumsum(lengths) - lengths,
        counts=file.counts[np.concatenate([kept_words, labels])],
        word_rows=words[kept_words],
        bucket_ids=ids[kept_buckets],
        bucket_rows=buckets[kept_buckets],
        output=file.output if file.supervised else dense(file.output)[:0],
        pruned=True,
    )


def quantize_rows(
    rows: NDArray[np.float32],
    dsub: int,
    qnorm: bool,
    seed: int,
    pool: ThreadPoolExecutor,
    *,
    exact_zero: bool = False,
) -> QuantisedRows:
    """Learn a product quantiser on rows, float32 (n, dim), and encode them with it.

    exact_zero: a row of zeros stays one, for a centroid's exactness: n-grams that were never seen must not add noise.
    """
    count, dim = rows.shape
    inverses, weights = np.ones(count, np.float32), np.ones(count, np.float32)
    norm_codes, norms = np.empty(0, np.uint8), np.empty(0, np.float32)
    if qnorm:
        lengths = _norms(rows)
        # An error counts as much as its row is long, squared. Unweighted, one norm of 13, where most are near 1, came
        # out as 7: it was a frequent word's, and cost half a point.
        weights = lengths**2 if lengths.any() else weights
        norm_codes, centroids = _quantize_part(lengths[:, None], 0, 1, inverses, weights, seed, exact_zero)
        norms = centroids[0]
        inverses = np.where(lengths > 0, 1 / np.where(lengths > 0, lengths, 1), 1).astype(np.float32)
    starts = range(0, dim, dsub)
    zero = exact_zero and not qnorm
    jobs = [
        pool.submit(_quantize_part, rows, at, min(dsub, dim - at), inverses, weights, seed + 1 + at, zero)
        for at in starts
    ]
    codes, found = np.empty((count, len(starts)), np.uint8), []
    for part, job in enumerate(jobs):
        codes[:, part], centroids = job.result()
        found.append(centroids.T.ravel())
    return QuantisedRows(dim, dsub, codes, np.concatenate(found), norm_codes, norms)


def _quantize_part(
    rows: NDArray[np.float32],
    first: int,
    columns: int,
    inverses: NDArray[np.float32],
    weights: NDArray[np.float32],
    seed: int,
    exact_zero: bool,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Codes, uint8 (n,), and centroids, float32 (columns, 256), of some columns of rows, each row times its inverse.

    weights: float32 (n,), what an error in a row counts.
    """
    count, generator, scratch = rows.shape[0], np.random.default_rng(seed), Scratch.of(columns)
    if count <= POINTS:
        sample = generator.permutation(count)
        sample_weights = weights[sample]
    else:  # what counts more is drawn more often instead
        shares = np.cumsum(weights, dtype=np.float64)
        sample = np.searchsorted(shares, generator.random(POINTS) * shares[-1], side="right").clip(max=count - 1)
        sample_weights = np.ones(POINTS, np.float32)
    points = np.empty((columns, sample.size), np.float32)
    gather_columns(rows, sample, first, inverses[sample], points)
    # Different points to begin with: equal centroids would stay equal. Fewer than 256 are each their own centroid.
    distinct, places = np.unique(points[:, : 8 * CENTROIDS], axis=1, return_index=True)
    if distinct.shape[1] <= CENTROIDS or columns == 1:
        distinct, places = np.unique(points, axis=1, return_index=True)
    some = min(CENTROIDS, distinct.shape[1])
    if some == distinct.shape[1]:
        chosen = np.arange(some)
    elif columns == 1:
        # The best quantiser has centroids as the cube root of the density (Panter and Dite 1951), of gaps as the power
        # 2/3: those who stand alone begin with one of their own. Lloyd's rounds seldom get there by themselves.
        shares = np.cumsum(np.diff(distinct[0], prepend=distinct[0, :1]) ** (2 / 3))
        chosen = np.searchsorted(shares, np.linspace(0, shares[-1], some)).clip(max=distinct.shape[1] - 1)
    else:  # the heavy ones rather; the light ones not never
        shares = sample_weights[places].astype(np.float64)
        shares += 0.01 * shares.mean() + 1e-30
        chosen = generator.choice(distinct.shape[1], some, replace=False, p=shares / shares.sum())
    centroids = np.zeros((columns, CENTROIDS), np.float32)
    centroids[:, :some] = distinct[:, chosen]
    if distinct.shape[1] > CENTROIDS:
        codes = np.zeros(sample.size, np.uint8)
        encode(points, centroids, scratch, codes)
        lloyd(points, sample_weights, centroids, scratch, codes, ROUNDS)
    if exact_zero:
        centroids[:, np.argmin((centroids**2).sum(axis=0))] = 0
    every = np.zeros(count, np.uint8)
    points = np.empty((columns, min(BLOCK, count)), np.float32)
    for begin in range(0, count, BLOCK):
        numbers = np.arange(begin, min(count, begin + BLOCK))
        block = points[:, : numbers.size] if numbers.size == points.shape[1] else points[:, : numbers.size].copy()
        gather_columns(rows, numbers, first, inverses[begin : begin + numbers.size], block)
        encode(block, centroids, scratch, every[begin : begin + numbers.size])
    return every, centroids


def _norms(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    squares: NDArray[np.float32] = np.einsum("nd,nd->n", rows, rows, dtype=np.float32)
    return np.sqrt(squares)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
