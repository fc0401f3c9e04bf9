"""What share of a core's peaks BlazingText's kernels reach, on one thread, and what bounds them.

    python -m bench.roofline [--rounds 3] [--share 0.2] [--jobs NAME,…]

Peaks are measured: multiply-adds that need no memory, and reading and writing 256 MB in order. Seconds are processor
time of one epoch of training, the least of the rounds, without reading the text; --share: of the text. Per epoch, with
d the dimension, w = 4 bytes times d padded to whole vectors, K = 5 negatives:

    skip-gram, subwords   FLOP = 6 d (K + 1) contexts: a score, and a step of either row, of 2 d each
    CBOW                  FLOP = 6 d (K + 1) words + 4 d contexts: their mean and their steps
    both                  bytes = 2 w (K + 2) words: a word's row and those that it is told from, read and written
    subwords              FLOP += 4 d rows, bytes = 2 w (K + 1) words + 3 w rows: what words are composed of, read to
                          compose, read and written to scatter, each once for a batch that has the word
    supervised            FLOP = 4 d features + 6 d C lines, C labels; bytes = 3 w features: read, then read and written

Words and contexts are those that are left after frequent words were dropped and windows shrunk, counted in the draws
themselves; features are words and bigrams. Bytes are those of rows that all come from memory: those of frequent words
do not, so the share of the bandwidth is too high, and may be above one. What is far from either peak is bound by
latency and by book-keeping.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from bench.machine import describe
from wildsage.algorithms.blazingtext import BlazingText
from wildsage.algorithms.blazingtext import corpus as texts
from wildsage.algorithms.blazingtext.kernels.random import Batch, draw_batch
from wildsage.algorithms.blazingtext.word_epochs import Subwords, Training
from wildsage.algorithms.blazingtext.word_vectors import make_stream, read_vocabulary
from wildsage.algorithms.context import Silence, TrainingContext
from wildsage.contract.channels import Channel
from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import aligned, fma, load, padded, store, totals

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("WILDSAGE_DATA", ROOT.parent / "shared" / "data"))
JOBS: dict[str, dict[str, Any]] = {
    "skipgram-100": {"mode": "skipgram", "vector_dim": 100},
    "skipgram-300": {"mode": "skipgram", "vector_dim": 300},
    "cbow-100": {"mode": "cbow", "vector_dim": 100},
    "subwords-100": {"mode": "skipgram", "vector_dim": 100, "subwords": True},
    "supervised-10": {"mode": "supervised", "vector_dim": 10},
    "supervised-100": {"mode": "supervised", "vector_dim": 100},
}
NEGATIVES, CLASSES, LINE = 5, 4, 240


@kernel
def multiply_add(count, a):  # type: ignore[no-untyped-def]
    """Twelve independent chains of multiply-adds: the peak of a core."""
    x, y = load(a, 0), load(a, 16)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = load(a, 32)
    for _ in range(count):
        s0, s1, s2, s3 = fma(x, s0, y), fma(x, s1, y), fma(x, s2, y), fma(x, s3, y)
        s4, s5, s6, s7 = fma(x, s4, y), fma(x, s5, y), fma(x, s6, y), fma(x, s7, y)
        s8, s9, s10, s11 = fma(x, s8, y), fma(x, s9, y), fma(x, s10, y), fma(x, s11, y)
    store(a, 0, totals(s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, x, x, x, x))


@kernel
def rewrite(a, times):  # type: ignore[no-untyped-def]
    """Read and write all of an array."""
    for _ in range(times):
        for d in range(0, a.size, 16):
            v = load(a, d)
            store(a, d, fma(v, v, v))


def peaks() -> tuple[float, float]:
    """(GFLOP/s of one core, GB/s of reading and writing 256 MB from one core), the best of three by processor time."""
    numbers, array = aligned(64), aligned(1 << 26)
    numbers[:] = 0.5
    multiply_add(1, numbers)
    rewrite(array, 1)
    flops, bandwidth = [], []
    for _ in range(3):
        begun = time.process_time()
        multiply_add(3_000_000, numbers)
        flops.append(12 * 32 * 3e6 / (time.process_time() - begun) / 1e9)
        begun = time.process_time()
        rewrite(array, 2)
        bandwidth.append(2 * 2 * array.nbytes / (time.process_time() - begun) / 1e9)
    return max(flops), max(bandwidth)


@dataclass
class Work:
    """Of one epoch: seconds of the processor, tokens of text, FLOP and bytes of rows; and words in the vocabulary."""

    seconds: float
    tokens: int
    flop: float
    moved: float
    vocabulary: int = 0


def parse(**values: Any) -> Any:
    """Hyperparameters; what is not named is the setting of the bars."""
    settings = {
        "window_size": 5, "negative_samples": NEGATIVES, "min_count": 5, "sampling_threshold": 1e-4, "epochs": 1,
        "evaluation": False, "learning_rate": 0.05, "seed": 1, **values,
    }  # fmt: skip
    return BlazingText.hyperparameters.parse({name: str(value) for name, value in settings.items()})


def train_words(folder: Path, rounds: int, **values: Any) -> Work:
    """Train on the text in a folder, `rounds` times, and count the draws once."""
    parameters = parse(**values)
    found = texts.encode(texts.read(Channel("train", folder), labelled=False), 1, Event(), labelled=False)
    vocabulary, kinds = read_vocabulary(found, parameters, None)
    stream = make_stream(found, kinds, int(vocabulary.word_counts.sum()))
    subwords = Subwords.none()
    if parameters.makes_subwords:
        subwords = Subwords.of(vocabulary.words, parameters.min_char, parameters.max_char, parameters.buckets)
    seconds = []
    with ThreadPoolExecutor(1) as pool:
        for number in range(rounds + 1):
            training = Training(parameters, vocabulary, stream, subwords, 1, pool, Event(), Silence())
            training.initialise()
            begun = time.process_time()
            training.run_epoch()
            if number > 0:  # the first loads kernels
                seconds.append(time.process_time() - begun)
        work = count_work(Training(parameters, vocabulary, stream, subwords, 1, pool, Event(), Silence()))
    return Work(min(seconds), stream.size, *work, len(vocabulary.words))


def count_work(training: Training) -> tuple[float, float]:
    """FLOP and bytes of the epoch that begins, by the formulae above."""
    parameters, subwords, stream = training.parameters, training.subwords, training.parts[0]
    batch = Batch.empty(1000, training.groups, apart=subwords.there)
    words = contexts = rows = 0
    sizes = np.diff(subwords.starts)
    while training.positions[0][0] < stream.size:
        n = draw_batch(stream, training.positions[0], stream.size, training.chances, batch, training.random[0])
        words += n
        contexts += int((batch.rights[:n] - batch.lefts[:n]).sum()) - n
        if subwords.there:
            rows += int(sizes[np.unique(batch.words[:n])].sum())
    d, w, outputs = parameters.vector_dim, 4 * padded(parameters.vector_dim), parameters.negative_samples + 1
    if parameters.mode == "cbow":
        return 6 * d * outputs * words + 4 * d * contexts, 2 * w * (outputs + 1) * words
    if subwords.there:
        return 6 * d * outputs * contexts + 4 * d * rows, 2 * w * outputs * words + 3 * w * rows
    return 6 * d * outputs * contexts, 2 * w * (outputs + 1) * words


def train_labels(folder: Path, rounds: int, **values: Any) -> Work:
    """Train to tell labels from lines of words and bigrams, rows float32; four epochs more, over four."""
    channels = {"train": Channel("train", folder)}
    spent: dict[int, list[float]] = {1: [], 5: []}
    for number in range(rounds + 1):
        for epochs, times in spent.items():
            more = {"word_ngrams": 2, "storage": "float32", "buckets": 2_000_000, "epochs": epochs}
            context = TrainingContext(
                parse(**values, **more), channels, folder / "out", folder / "checkpoints", Silence(), Event(), threads=1
            )
            begun = time.process_time()
            BlazingText().train(context)
            if number > 0:  # the first loads kernels
                times.append(time.process_time() - begun)
    seconds = (min(spent[5]) - min(spent[1])) / 4
    lines = (folder / "text").read_bytes().count(b"\n")
    tokens = lines * LINE
    d = int(values["vector_dim"])
    w = 4 * padded(d)
    return Work(seconds, tokens, 4.0 * d * 2 * tokens + 6.0 * d * CLASSES * lines, 3.0 * w * 2 * tokens)


def write_texts(folder: Path, share: float) -> None:
    """The corpus, or a share of it, as `words/text`, and its words in lines with a label each as `labels/text`."""
    for name in ("words", "labels"):
        (folder / name).mkdir()
    whole = folder / "whole"
    with gzip.open(DATA / "corpus-en" / "corpus.txt.gz") as packed, whole.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    text = whole.read_bytes()
    text = text[: text.rfind(b"\n", 0, int(len(text) * share)) + 1]
    (folder / "words" / "text").write_bytes(text)
    words = text.split()
    with (folder / "labels" / "text").open("wb") as file:
        for line, at in enumerate(range(0, len(words) - LINE, LINE)):
            file.write(b"__label__%d " % (line % CLASSES) + b" ".join(words[at : at + LINE]) + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--jobs", default=",".join(JOBS))
    given = parser.parse_args()
    flops, bandwidth = peaks()
    print(describe())
    print(f"one core: {flops:.0f} GFLOP/s, reads and writes {bandwidth:.0f} GB/s\n")
    print("| kernel | million words/s | GFLOP/s | of the peak | GB/s of rows | of the peak | nearest bound |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder, given.share)
        for job in given.jobs.split(","):
            supervised = JOBS[job]["mode"] == "supervised"
            train, place = (train_labels, "labels") if supervised else (train_words, "words")
            work = train(folder / place, given.rounds, **JOBS[job])
            speed, rate = work.flop / work.seconds / 1e9, work.moved / work.seconds / 1e9
            shares = {"multiply-adds": speed / flops, "memory": rate / bandwidth}
            bound = max(shares, key=shares.__getitem__) if max(shares.values()) > 0.5 else "latency and book-keeping"
            print(
                f"| {job} | {work.tokens / work.seconds / 1e6:.2f} | {speed:.0f} | {speed / flops:.0%} | {rate:.0f} | "
                f"{rate / bandwidth:.0%} | {bound} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
