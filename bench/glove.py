"""Claim: GloVe at dim 100 trains 12 million non-zeros/s a core, at a cost no worse than a plain float64 program's.

    python -m bench.glove [--epochs 5] [--rounds 5] [--program FOLDER]

The text is that of corpus-en: minimum count 5, window 10, symmetric, x_max 100, alpha 0.75, rate 0.05. Speeds are by
processor time, which says more on a busy machine: counting is from words as numbers to shuffled non-zeros on disk, with
one thread; training is by epochs with one thread; the ratio of two threads to one is of wall time, in pairs of epochs
in turn. The reference is GloVe in float64 as the paper and the usual C program have it, all non-zeros in one random
order, from the same counts and the same first rows. FOLDER holds the usual C program, built: vocab_count, cooccur,
shuffle and glove; its counting and training are timed beside ours. Data lie in WILDSAGE_DATA, or in ../shared/data
beside the checkout.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from bench.machine import describe
from wildsage.algorithms.blazingtext import corpus as texts
from wildsage.algorithms.blazingtext import text_files
from wildsage.algorithms.blazingtext.similarity import read_pairs, score
from wildsage.algorithms.blazingtext.vocabulary import Vocabulary
from wildsage.algorithms.blazingtext.word_vectors import make_stream
from wildsage.algorithms.context import Silence
from wildsage.algorithms.glove import cooccurrence, training
from wildsage.algorithms.glove.cooccurrence import Counting, Matrix
from wildsage.algorithms.glove.hyperparameters import GloveHyperparameters
from wildsage.algorithms.glove.kernels.counting import SIDE
from wildsage.algorithms.glove.model import GloveVectors
from wildsage.algorithms.glove.training import Training
from wildsage.contract.channels import Channel
from wildsage.kernels.kernel import kernel

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("WILDSAGE_DATA", ROOT.parent / "shared" / "data"))
SETS = {"WS-353": "wordsim353.tsv", "MEN": "men3000.tsv", "SimLex": "simlex999.tsv"}
DIM, WINDOW, MEMORY = 100, 10, 1 << 30


@kernel
def reference_epoch(order, words, contexts, values, table, squares, dim, rate):  # type: ignore[no-untyped-def]
    """An epoch in float64, step by step. Rows are dim weights and a bias; those of contexts follow those of words."""
    cost = 0.0
    for k in order:
        a, b = words[k], contexts[k]
        error = table[a, dim] + table[b, dim] - values[k, 0]
        for d in range(dim):
            error += table[a, d] * table[b, d]
        cost += 0.5 * error * error * values[k, 1]
        step = rate * error * values[k, 1]
        for d in range(dim):
            g, h = step * table[b, d], step * table[a, d]
            table[a, d] -= g / np.sqrt(squares[a, d])
            table[b, d] -= h / np.sqrt(squares[b, d])
            squares[a, d] += g * g
            squares[b, d] += h * h
        for row in (a, b):
            table[row, dim] -= step / np.sqrt(squares[row, dim])
            squares[row, dim] += step * step
    return cost


def read(path: Path) -> tuple[Vocabulary, np.ndarray]:
    """The vocabulary, and the text as numbers."""
    channel = Channel("train", path.parent)
    corpus = texts.encode(text_files.read(channel, labelled=False), 1, Event(), labelled=False)
    vocabulary, kinds = training.read_vocabulary(corpus, GloveHyperparameters.parse({}), None)
    return vocabulary, make_stream(corpus, kinds, int(vocabulary.word_counts.sum()))


def peak_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.split("\n") if line.startswith("VmHWM")).split()[1]) / 1000


def program(folder: Path, name: str, source: Path, target: Path, *options: str) -> tuple[float, str]:
    """Run a program of the C implementation; returns its processor seconds, and what it said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with source.open("rb") as given, target.open("wb") as made:
        done = subprocess.run([folder / name, *options], stdin=given, stdout=made, stderr=subprocess.PIPE, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, done.stderr.decode("utf-8", "replace")


def qualities(vocabulary: Vocabulary, words: np.ndarray, contexts: np.ndarray) -> str:
    words, contexts = (np.ascontiguousarray(rows, np.float32) for rows in (words, contexts))
    model = GloveVectors.of_rows(
        vocabulary.words, vocabulary.word_counts, words, contexts, np.zeros((2, len(words)), np.float32),
        window=WINDOW, epochs=1, min_count=5,
    )  # fmt: skip
    pairs = {name: read_pairs(DATA / "word-similarity" / file) for name, file in SETS.items()}
    return " | ".join(f"{score(model, each).rho:.3f}" for each in pairs.values())


def expanded(matrix: Matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All non-zeros: words, contexts, values."""
    rows, columns = (np.repeat(matrix.blocks[:, k] * SIDE, matrix.blocks[:, 3]) for k in (0, 1))
    order = np.concatenate([np.arange(first, first + size) for first, size in matrix.blocks[:, 2:].tolist()])
    cells = np.asarray(matrix.cells)[order]
    words, contexts, values = rows + cells // SIDE, columns + cells % SIDE, np.asarray(matrix.values)[order]
    mirrored = np.repeat(matrix.blocks[:, 0] != matrix.blocks[:, 1], matrix.blocks[:, 3])
    return (
        np.concatenate([words, contexts[mirrored]]).astype(np.int32),
        np.concatenate([contexts, words[mirrored]]).astype(np.int32),
        np.concatenate([values, values[mirrored]]),
    )


def count(stream: np.ndarray, what: Counting, folder: Path, rounds: int, given: argparse.Namespace) -> Matrix:
    """Count in turn with the C program; print the speeds."""
    words = int((stream >= 0).sum())
    ours, theirs, mixed = [], [], []
    vocabulary, counts, shuffled = folder / "vocabulary", folder / "counts.bin", folder / "shuffled.bin"
    if given.program:
        program(given.program, "vocab_count", folder / "text" / "text.txt", vocabulary, "-min-count", "5")
    with ThreadPoolExecutor(1) as pool:
        for number in range(rounds + 1):  # the first is not counted: kernels are compiled, files read
            place = folder / f"round{number}"
            place.mkdir()
            begun = time.process_time()
            matrix = cooccurrence.count(stream, what, place, 1, MEMORY, pool, Event())
            ours.append(time.process_time() - begun)
            if number < rounds:
                shutil.rmtree(place)
            if given.program:
                options = ("-vocab-file", str(vocabulary), "-window-size", str(WINDOW), "-memory", "4", "-verbose", "0")
                source = folder / "text" / "text.txt"
                theirs.append(program(given.program, "cooccur", source, counts, *options)[0])
                options = ("-memory", "4", "-verbose", "0", "-temp-file", str(folder / "temporary"))
                mixed.append(program(given.program, "shuffle", counts, shuffled, *options)[0])
    print(f"\n{len(matrix.blocks):,} blocks, {matrix.non_zeros:,} non-zeros of {words:,} words\n")
    print("| counting | million words/s a core | seconds | lowest-highest |\n|---|---|---|---|")
    rows = {"ours, shuffled": ours[1:], "C program": theirs[1:], "C program, and shuffled": []}
    rows["C program, and shuffled"] = [a + b for a, b in zip(theirs[1:], mixed[1:], strict=True)]
    for name, seconds in rows.items():
        if seconds:
            middle = statistics.median(seconds)
            print(f"| {name} | {words / middle / 1e6:.2f} | {middle:.2f} | {min(seconds):.2f}-{max(seconds):.2f} |")
    return matrix


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", type=Path)
    given = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path = folder / "text" / "text.txt"
        path.parent.mkdir()
        with gzip.open(DATA / "corpus-en" / "corpus.txt.gz") as packed, path.open("wb") as file:
            shutil.copyfileobj(packed, file)
        vocabulary, stream = read(path)
        parameters = GloveHyperparameters.parse({"epochs": given.epochs})
        what = Counting(len(vocabulary.words), WINDOW, True, parameters.x_max, parameters.alpha, parameters.seed)
        matrix = count(stream, what, folder, given.rounds, given)
        del stream
        bench_training(given, parameters, vocabulary, matrix, folder)


def bench_training(
    given: argparse.Namespace, parameters: GloveHyperparameters, vocabulary: Vocabulary, matrix: Matrix, folder: Path
) -> None:
    size, threads = len(vocabulary.words), 2
    costs: dict[str, list[float]] = {"ours": [], "float64 reference": [], "C program": []}
    speeds: dict[str, list[float]] = {name: [] for name in costs}
    with ThreadPoolExecutor(threads) as pool:
        ours = Training(parameters, size, matrix, threads, pool, Event(), Silence())
        ours.initialise(None, vocabulary)
        first, ours.threads = ours.rows_out(vocabulary), 1
        for _ in range(given.epochs):
            begun = time.process_time()
            ours.run_epoch()
            speeds["ours"].append(matrix.non_zeros / (time.process_time() - begun))
            costs["ours"].append(ours.end_epoch())
        rows = ours.rows_out(vocabulary)
        peak, ratios = peak_mb(), []
        for _ in range(given.rounds):
            seconds = []
            for ours.threads in (1, threads):
                begun = time.perf_counter()
                ours.run_epoch()
                seconds.append(time.perf_counter() - begun)
                ours.end_epoch()
            ratios.append(seconds[0] / seconds[1])
    found = {"ours": qualities(vocabulary, rows.words, rows.contexts)}
    files = sum(array.nbytes for array in (matrix.cells, matrix.values)) / 1e6
    table, squares = np.zeros((2 * size, DIM + 1)), np.ones((2 * size, DIM + 1))
    table[:size, :DIM], table[size:, :DIM] = first.words, first.contexts
    words, contexts, values = expanded(matrix)
    random, nothing = np.random.default_rng(0), np.empty(0, np.int64)
    contexts += size
    reference_epoch(nothing, words, contexts, values, table, squares, DIM, 0.05)
    order = random.permutation(words.size)  # once, as the C program does
    for _ in range(given.epochs):
        begun = time.process_time()
        cost = reference_epoch(order, words, contexts, values, table, squares, DIM, 0.05)
        speeds["float64 reference"].append(words.size / (time.process_time() - begun))
        costs["float64 reference"].append(float(cost) / words.size)
    found["float64 reference"] = qualities(vocabulary, table[:size, :DIM], table[size:, :DIM])
    if given.program:
        trained(given, matrix, folder, costs, speeds)
    told = " | ".join(f"epoch {k + 1}" for k in range(given.epochs))
    print(f"\n| training | million non-zeros/s a core | cost after {told} | {' | '.join(SETS)} |")
    print("|---" * (given.epochs + 2 + len(SETS)) + "|")
    for name, each in costs.items():
        if each:
            middle = statistics.median(speeds[name]) / 1e6
            shown = " | ".join(f"{cost:.5f}" for cost in each)
            print(f"| {name} | {middle:.2f} | {shown} | {found.get(name, ' | '.join(['-'] * len(SETS)))} |")
    print(
        f"\nTwo threads over one, wall time: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}). "
        f"Memory at its peak: {peak:.0f} MB, of it table {ours.table.nbytes / 1e6:.0f} MB and mapped files of "
        f"{files:.0f} MB."
    )


def trained(
    given: argparse.Namespace, matrix: Matrix, folder: Path, costs: dict[str, list[float]], speeds: dict[str, Any]
) -> None:
    """The C program's epochs."""
    said = program(
        given.program, "glove", Path(os.devnull), folder / "said", "-save-file", str(folder / "vectors"), "-threads",
        "1", "-input-file", str(folder / "shuffled.bin"), "-x-max", "100", "-iter", str(given.epochs), "-vector-size",
        str(DIM), "-binary", "0", "-vocab-file", str(folder / "vocabulary"), "-verbose", "1",
    )  # fmt: skip
    costs["C program"] = [float(cost) for cost in re.findall(r"cost: ([0-9.]+)", said[1])]
    speeds["C program"] = [given.epochs * matrix.non_zeros / said[0]]


if __name__ == "__main__":
    main()
