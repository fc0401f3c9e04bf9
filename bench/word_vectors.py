"""Claim: word vectors, 25 times as fast as fastText and 11 times as fast as gensim, at equal quality.

    python -m bench.word_vectors --gensim PYTHON [--rounds 5] [--epochs 5] [--threads 1,2] [--jobs NAME,…] [--save]

Peers are the fastText package (fasttext-numpy2, in this environment) and gensim (corpus_file), in the environment of
PYTHON: python -m venv ENV && ENV/bin/pip install gensim. All three get the same text, dimensions, window 5, 5
negatives, subsampling at 1e-4, minimum count 5, rate, epochs, threads and seeds, a process each, in turn: a round is
one seed. Seconds are from the text file to a trained model in memory, kernels loaded; ratios are of a round's pairs, by
wall time and by processor time, which says more on a busy machine. Qualities are the mean and spread over seeds:
Spearman's correlation on WordSimilarity-353, MEN and SimLex-999, and the share of analogies that are right among the
30,000 commonest words.
The text and the sets lie in WILDSAGE_DATA, or in ../shared/data beside the checkout.

Three things are not equal, and are the peers' own: fastText draws negatives from the square root of counts, gensim and
we from counts^0.75; the package's fastText takes no seed, so its rounds on one thread are alike; and gensim leaves
"</s>", the end of a line, out.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe
from wildsage.algorithms.blazingtext.similarity import read_pairs, spearman
from wildsage.kernels.kernel import kernel
from wildsage.kernels.vector import aligned, fma, load, store, totals

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("WILDSAGE_DATA", ROOT.parent / "shared" / "data"))
SETS = {"WS-353": "wordsim353.tsv", "MEN": "men3000.tsv", "SimLex": "simlex999.tsv"}
JOBS: dict[str, dict[str, Any]] = {
    "skipgram-100": {"mode": "skipgram", "dim": 100, "subwords": False},
    "skipgram-300": {"mode": "skipgram", "dim": 300, "subwords": False},
    "cbow-100": {"mode": "cbow", "dim": 100, "subwords": False},
    "subwords-100": {"mode": "skipgram", "dim": 100, "subwords": True},
}
COMMONEST = 30_000


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


def roofline() -> tuple[float, float]:
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
class Runs:
    """What each of ours, fasttext and gensim gave, by round."""

    facts: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    qualities: dict[str, list[dict[str, float]]] = field(default_factory=dict)


def run(who: str, python: str, text: Path, out: Path, settings: dict[str, Any]) -> dict[str, float]:
    environment = os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    environment["PYTHONPATH"] = str(ROOT / "src") if who == "ours" else ""
    done = subprocess.run(
        [python, str(ROOT / "bench" / "peers" / "word_vectors.py"), who, str(text), str(out), json.dumps(settings)],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{who} failed: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.strip().split("\n")[-1]))


def quality(out: Path) -> dict[str, float]:
    words = Path(f"{out}.words").read_text("utf-8").split("\n")
    vectors = np.load(f"{out}.npy")
    number = {word: place for place, word in reversed(list(enumerate(words)))}
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(norms > 0, norms, 1)
    found = {}
    for name, file in SETS.items():
        pairs = [
            (number[first.lower()], number[second.lower()], human)
            for first, second, human in read_pairs(DATA / "word-similarity" / file)
            if first.lower() in number and second.lower() in number
        ]
        first, second, human = (np.array(column) for column in zip(*pairs, strict=True))
        found[name] = spearman((units[first] * units[second]).sum(axis=1).astype(float), human.astype(float))
    return found | {"analogies": analogies(units[:COMMONEST], {w: n for w, n in number.items() if n < COMMONEST})}


def analogies(units: np.ndarray, number: dict[str, int]) -> float:
    """The share of a : b = c : d that is right, nearest to b - a + c, among questions of known words."""
    lines = (DATA / "word-similarity" / "questions-words.txt").read_text("utf-8").lower().split("\n")
    questions = [line.split() for line in lines if line and not line.startswith(":")]
    ids = np.array([[number[word] for word in row] for row in questions if all(word in number for word in row)])
    right = 0
    for begin in range(0, len(ids), 500):
        a, b, c, d = ids[begin : begin + 500].T
        scores = (units[b] - units[a] + units[c]) @ units.T
        for given in (a, b, c):
            scores[np.arange(len(given)), given] = -np.inf
        right += int((scores.argmax(axis=1) == d).sum())
    return right / max(1, len(ids))


def spread(values: list[float], digits: int = 3) -> str:
    middle = statistics.mean(values)
    return f"{middle:.{digits}f} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else f"{middle:.{digits}f}"


def ratio(theirs: list[float], ours: list[float]) -> str:
    values = [their / our for their, our in zip(theirs, ours, strict=True)]
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f})"


def count(text: Path, pythons: dict[str, str], rounds: int, folder: Path) -> None:
    """The table of the vocabulary pass."""
    megabytes, runs = text.stat().st_size / 1e6, Runs()
    for _ in range(rounds):
        for who, python in pythons.items():
            facts = run(who, python, text, folder / "count", {"count": True, "threads": 1})
            runs.facts.setdefault(who, []).append(facts)
    print("\n| vocabulary (ours: with encoding), 1 thread | words | MB/s, wall | MB/s, processor | ratio |")
    print("|---|---|---|---|---|")
    for who, facts in runs.facts.items():
        wall, processor = ([each[name] for each in facts] for name in ("count", "count_cpu"))
        own = [each["count_cpu"] for each in runs.facts["ours"]]
        speeds = (f"{megabytes / statistics.median(seconds):.0f}" for seconds in (wall, processor))
        print(f"| {who} | {facts[0]['words']:,} | {' | '.join(speeds)} | {ratio(processor, own)} |")


def table(name: str, threads: int, runs: Runs, text_words: int, epochs: int) -> None:
    columns = [
        "s, wall",
        "s, processor",
        "million words/s",
        "MiB",
        "ratio, wall",
        "ratio, processor",
        *SETS,
        "analogies",
    ]
    print(f"\n{name}, {threads} thread{'s' * (threads > 1)}\n\n| | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    own = runs.facts["ours"]
    for who, facts in runs.facts.items():
        wall, processor = ([each[key] for each in facts] for key in ("train", "train_cpu"))
        row = [f"{statistics.median(wall):.2f}", f"{statistics.median(processor):.2f}"]
        row += [f"{text_words * epochs / statistics.median(wall) / 1e6:.2f}"]
        row += [f"{statistics.median([each['peak_mib'] for each in facts]):.0f}"]
        row += [ratio(wall, [each["train"] for each in own]), ratio(processor, [each["train_cpu"] for each in own])]
        row += [spread([each[key] for each in runs.qualities[who]]) for key in [*SETS, "analogies"]]
        print(f"| {who} | {' | '.join(row)} |")
        if "save" in facts[0]:
            whole, ours = ([each["train"] + each["save"] for each in some] for some in (facts, own))
            print(f"| {who}, saved | {statistics.median(whole):.2f} | | | | {ratio(whole, ours)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--gensim", metavar="PYTHON", help="an interpreter that has gensim; without it gensim is left out"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--jobs", default=",".join(JOBS))
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--more", default="{}", help="JSON: further hyperparameters for ours")
    parser.add_argument("--no-fasttext", action="store_true")
    parser.add_argument("--no-count", action="store_true")
    parser.add_argument("--save", action="store_true", help="time the saving of models, too")
    given = parser.parse_args()
    pythons = {"ours": sys.executable} | ({} if given.no_fasttext else {"fasttext": sys.executable})
    if given.gensim:
        pythons["gensim"] = given.gensim
    print(describe("fasttext-numpy2"), flush=True)
    flops, bandwidth = roofline()
    print(f"one core: {flops:.0f} GFLOP/s, reads and writes {bandwidth:.0f} GB/s", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "corpus.txt"
        with gzip.open(DATA / "corpus-en" / "corpus.txt.gz") as packed, text.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        words = sum(len(line.split()) + 1 for line in text.open(encoding="utf-8"))
        if not given.no_count:
            count(text, pythons, given.rounds, folder)
        for job in given.jobs.split(","):
            for threads in map(int, given.threads.split(",")):
                runs = Runs()
                for seed in range(1, given.rounds + 1):
                    for who, python in pythons.items():
                        settings = {"epochs": given.epochs, "threads": threads, "seed": seed, "rate": given.rate}
                        settings |= {"save": given.save, **JOBS[job]}
                        settings |= {"more": json.loads(given.more)} if who == "ours" else {}
                        runs.facts.setdefault(who, []).append(run(who, python, text, folder / who, settings))
                        runs.qualities.setdefault(who, []).append(quality(folder / who))
                table(job, threads, runs, words, given.epochs)
                sys.stdout.flush()


if __name__ == "__main__":
    main()
