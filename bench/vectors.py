"""Word vectors: nearest words, and files, beside NumPy and (where it is installed) gensim.

    python -m bench.vectors [words=1000000] [dim=100] [rounds=7]

Nearest: one query's ten best of all words by cosine, exact, warm; NumPy multiplies all rows of norm 1 with the query
and picks with argpartition. Files: seconds to write (on disk at the end) and to read vectors.txt of a tenth of the
words. Medians of runs in turn, with the lowest and highest.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import describe

BEST = 10


def seconds(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def told(runs: list[float], unit: float = 1) -> str:
    return f"{statistics.median(runs) * unit:.1f} ({min(runs) * unit:.1f}-{max(runs) * unit:.1f})"


def nearest(rows: np.ndarray, rounds: int) -> None:
    from wildsage.algorithms.blazingtext.neighbours import Neighbours

    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    tables = {threads: Neighbours(rows, threads) for threads in (1, 2)}
    queries = rows[:rounds]
    works: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "ours, 1 thread": lambda query: tables[1].nearest(query[None], BEST)[0][0],
        "ours, 2 threads": lambda query: tables[2].nearest(query[None], BEST)[0][0],
        "NumPy": lambda query: np.argpartition(unit @ query, -BEST)[-BEST:],
    }
    taken: dict[str, list[float]] = {name: [] for name in works}
    for query in queries:
        found = set()
        for name, work in works.items():
            begun = time.perf_counter()
            ids = work(query)
            taken[name].append(time.perf_counter() - begun)
            found.add(tuple(sorted(ids.tolist())))
        assert len(found) == 1
    print("| nearest words | ms a query | GB/s |\n|---|---|---|")
    for name, runs in taken.items():
        print(f"| {name} | {told(runs, 1000)} | {rows.nbytes / statistics.median(runs) / 1e9:.0f} |", flush=True)


def files(rows: np.ndarray, rounds: int) -> None:
    from wildsage.algorithms.blazingtext import word2vec_file

    words = [f"word{number}".encode() for number in range(len(rows))]
    dim = rows.shape[1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.txt"
        works: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "ours": (
                lambda: word2vec_file.write_text(path, words, dim, lambda begin, end: rows[begin:end]),
                lambda: word2vec_file.read(path),
            )
        }
        if find_spec("gensim") is not None:
            from gensim.models import KeyedVectors

            theirs = KeyedVectors(dim)
            theirs.add_vectors([word.decode() for word in words], rows)
            works["gensim"] = (
                lambda: theirs.save_word2vec_format(str(path)),
                lambda: KeyedVectors.load_word2vec_format(str(path)),
            )
        print("| vectors.txt | s to write | s to read | MB |\n|---|---|---|---|")
        taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in works}
        for _ in range(rounds):
            for name, (write, read) in works.items():
                taken[name].append((seconds(write), seconds(read), path.stat().st_size))
        for name, runs in taken.items():
            written, read_, size = zip(*runs, strict=True)
            print(f"| {name} | {told(list(written))} | {told(list(read_))} | {size[0] / 1e6:.0f} |", flush=True)


def main(arguments: list[str]) -> None:
    from wildsage.algorithms.blazingtext import BlazingText

    given = dict(argument.split("=", 1) for argument in arguments)
    count, dim = int(given.get("words", "1000000")), int(given.get("dim", "100"))
    rounds = int(given.get("rounds", "7"))
    BlazingText.warm_up()
    print(describe("gensim"))
    rows = np.random.default_rng(0).standard_normal((count, dim), dtype=np.float32)
    nearest(rows, rounds)
    files(rows[: count // 10], max(1, rounds // 2))


if __name__ == "__main__":
    main(sys.argv[1:])
