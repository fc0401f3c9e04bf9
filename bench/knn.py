"""Claim: k-NN costs at most 5 % over faiss itself and 1.1 times the memory of its index, and finds equal neighbours.

    python -m bench.knn [speed | memory] [--rows 1000000] [--rounds 5] [--threads 1 2] [--clock process]

Sets: mnist-10k (8,000 rows indexed, 2,000 looked up), covtype-20k (16,000 and 4,000), and `--rows` generated rows of 50
columns. `speed`: building is from rows in memory to an index file: here in batches of 5,000 through the sample, with
faiss in one `add`. Looking up is of all queries at once, and, for "single", one at a time. Both sides in turn, medians,
and the spread of the ratios of the pairs. Neighbours are compared by their distances in float64, since ties have no
order: a query counts as equal where the k distances are, and as better where ours are less in sum.
`memory`: the peak of a process that trains from a RecordIO file and saves, above that of one that has read the file and
kept nothing, over the bytes of the index; and the same of a process ("peer") that reads the rows into an array and
gives it to faiss. Data lie in WILDSAGE_DATA, or in ../shared/data beside the checkout.
"""

from __future__ import annotations

import argparse
import gzip
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # of both sides: they share faiss
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import faiss
import numpy as np

from bench.machine import describe
from wildsage.algorithms.context import Silence, TrainingContext
from wildsage.algorithms.knn import KNN
from wildsage.algorithms.knn.hyperparameters import FLAT, IVF_FLAT, IVF_PQ, KNNHyperparameters
from wildsage.algorithms.knn.index import Index
from wildsage.algorithms.knn.model import INDEX_FILE, NearestNeighbours, Settings
from wildsage.algorithms.knn.preparation import Preparation
from wildsage.algorithms.knn.state import Sample
from wildsage.algorithms.streaming import Workers
from wildsage.contract.channels import Channel
from wildsage.data.batch import Batch, Origin
from wildsage.data.readers import open_channel
from wildsage.data.recordio import write_numpy_to_dense_tensor

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("WILDSAGE_DATA", ROOT.parent / "shared" / "data"))
K, BATCH, PROBES, SUBVECTORS, COLUMNS = 10, 5000, 5, 8, 50
RECORDIO = "application/x-recordio-protobuf"


def real(name: str, file: str, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to index and to look up, of a set whose label comes last."""
    with gzip.open(DATA / name / file) as packed:
        rows = np.loadtxt(packed, np.float32, delimiter=",")[:, :-1]
    rows = rows[np.random.default_rng(0).permutation(len(rows))]
    return np.ascontiguousarray(rows[held_out:]), np.ascontiguousarray(rows[:held_out])


def generated(rows: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows around 1,000 points, so that lists of an inverted file mean something."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(1000, COLUMNS)).astype(np.float32) * 2
    parts = []
    for count in (rows, queries):
        made = random.standard_normal((count, COLUMNS), np.float32)
        for begin in range(0, count, 100_000):
            part = made[begin : begin + 100_000]
            part += centres[random.integers(0, len(centres), len(part))]
        parts.append(made)
    return parts[0], parts[1]


def lists_of(rows: int) -> int:
    return int(rows**0.5)


def build_ours(rows: np.ndarray, kind: str, threads: int, path: Path) -> NearestNeighbours:
    with Workers(threads) as workers:
        preparation = Preparation.draw(rows.shape[1], None, None, SUBVECTORS if kind == IVF_PQ else 1, False, 0)
        state = Sample(len(rows), preparation, workers, seed="0 1", whole_labels=True)
        labels, files = np.zeros(BATCH, np.float32), np.zeros(BATCH, np.int32)
        for begin in range(0, len(rows), BATCH):
            part = rows[begin : begin + BATCH]
            origin = Origin(["rows"], files[: len(part)], np.arange(begin, begin + len(part)))
            state.update(Batch(part, labels[: len(part)], None, origin))
        labels, keys = state.labels, state.keys
        index = Index.build(
            kind, state.rows, product=False, lists=lists_of(len(rows)), subvectors=SUBVECTORS, seed=0, threads=threads
        )
    index.write(path)
    settings = Settings(K, "classifier", kind, "L2", rows.shape[1])
    return NearestNeighbours(settings, index, preparation, labels, keys)


def padded(rows: np.ndarray, kind: str) -> np.ndarray:
    """What faiss needs for product quantization, and what a user of it has to do."""
    left = -rows.shape[1] % SUBVECTORS if kind == IVF_PQ else 0
    return np.ascontiguousarray(np.pad(rows, ((0, 0), (0, left)))) if left else rows


def build_theirs(rows: np.ndarray, kind: str, threads: int, path: Path) -> faiss.Index:
    faiss.omp_set_num_threads(threads)
    width = rows.shape[1]
    index = faiss.IndexFlatL2(width)
    if kind != FLAT:
        lists = lists_of(len(rows))
        if kind == IVF_FLAT:
            index = faiss.IndexIVFFlat(index, width, lists)
        else:
            index = faiss.IndexIVFPQ(index, width, lists, SUBVECTORS, 8)
            index.pq.cp.seed = 1
        index.cp.seed, index.nprobe = 1, PROBES
        index.train(rows)
    index.add(rows)
    faiss.write_index(index, str(path))
    return index


def alternated(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int, clock: Callable[[], float]
) -> tuple[float, float, list[float]]:
    """Medians of both, and the ratios of the pairs; one round before is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for work, taken in zip((ours, theirs), times, strict=True):
            begun = clock()
            work()
            if number:
                taken.append(clock() - begun)
    ratios = sorted(a / b for a, b in zip(*times, strict=True))
    return statistics.median(times[0]), statistics.median(times[1]), ratios


def squared(rows: np.ndarray, queries: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Distances to the rows found, in float64, ascending."""
    found = np.empty(numbers.shape)
    for i, query in enumerate(queries.astype(np.float64)):
        found[i] = np.sort(np.square(rows[numbers[i]].astype(np.float64) - query).sum(axis=1))
    return found


def report(what: str, kind: str, threads: int, found: tuple[float, float, list[float]], quality: str = "") -> None:
    ours, theirs, ratios = found
    spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}-{ratios[-1]:.3f})"
    print(f"| {what} | {kind} | {threads} | {ours:.4f} | {theirs:.4f} | {spread} | {quality} |", flush=True)


def speed(options: argparse.Namespace) -> None:
    sets = {
        "mnist-10k": lambda: real("mnist-10k", "mnist_test.csv.gz", 2000),
        "covtype-20k": lambda: real("covtype-20k", "covtype.20k.csv.gz", 4000),
        f"{options.rows:,} x {COLUMNS}": lambda: generated(options.rows, 200),
    }
    clock = time.process_time if options.clock == "process" else time.perf_counter
    print("| job | index | threads | ours, s | faiss, s | ratio (lowest-highest) | equal neighbours |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path, other = Path(folder) / "ours", Path(folder) / "theirs"
        for name, load in sets.items():
            rows, queries = load()
            for kind in options.index:
                theirs_rows, theirs_queries = padded(rows, kind), padded(queries, kind)
                for threads in options.threads:
                    jobs = (
                        lambda k=kind, n=threads, x=rows: build_ours(x, k, n, path),
                        lambda k=kind, n=threads, x=theirs_rows: build_theirs(x, k, n, other),
                    )
                    report(f"{name}, build", kind, threads, alternated(*jobs, options.rounds, clock))
                    model, peer = jobs[0](), jobs[1]()
                    with Workers(threads) as workers:
                        model.use(workers)
                        compare(name, kind, threads, model, peer, rows, queries, theirs_queries, options.rounds, clock)
                    del model, peer


def compare(
    name: str, kind: str, threads: int, model: NearestNeighbours, peer: faiss.Index, rows: np.ndarray,
    queries: np.ndarray, theirs_queries: np.ndarray, rounds: int, clock: Callable[[], float],
) -> None:  # fmt: skip
    """Search on both sides."""
    few = queries[:50]

    def theirs(asked: np.ndarray, step: int) -> None:
        faiss.omp_set_num_threads(threads)
        for begin in range(0, len(asked), step):
            peer.search(asked[begin : begin + step], K)

    def one_by_one() -> None:
        for i in range(len(few)):
            model.neighbours(few[i : i + 1])

    prepared = np.empty((len(queries), model.preparation.width), np.float32)
    model.preparation.apply(queries, prepared, model._workers)
    _, numbers = model.index.search(prepared, K, model._workers, PROBES)
    _, theirs_numbers = peer.search(theirs_queries, K)
    mine, others = squared(rows, queries, numbers), squared(rows, queries, np.maximum(theirs_numbers, 0))
    equal = np.isclose(mine, others, rtol=1e-12, atol=0).all(axis=1)
    better = ~equal & (mine.sum(axis=1) <= others.sum(axis=1))
    quality = f"{equal.sum():,} of {len(queries):,}, better {better.sum()}"
    found = alternated(lambda: model.neighbours(queries), lambda: theirs(theirs_queries, len(queries)), rounds, clock)
    report(f"{name}, search {len(queries):,}", kind, threads, found, quality)
    found = alternated(one_by_one, lambda: theirs(theirs_queries[: len(few)], 1), rounds, clock)
    report(f"{name}, single x {len(few)}", kind, threads, found)


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.split("\n") if line.startswith("VmHWM")).split()[1]) * 1024


def train(file: Path, kind: str, folder: Path, count: int) -> None:
    """Train and save, or only read; print the peak."""
    channel = Channel("train", file, RECORDIO)
    if kind == "none":
        KNN.warm_up()
        for _ in open_channel(channel, batch_rows=BATCH):
            pass
    elif kind.startswith("peer "):
        rows = np.empty((count, COLUMNS), np.float32)
        at = 0
        for batch in open_channel(channel, batch_rows=BATCH):
            rows[at : at + len(batch)] = batch.features
            at += len(batch)
        build_theirs(rows, kind.removeprefix("peer "), 1, folder / INDEX_FILE)
        print((folder / INDEX_FILE).stat().st_size)
    else:
        values = {"k": K, "predictor_type": "classifier", "sample_size": 1 << 30, "index_type": kind}
        if kind == IVF_PQ:
            values["faiss_index_pq_m"] = SUBVECTORS
        parameters = KNNHyperparameters.parse(values)
        context = TrainingContext(parameters, {"train": channel}, folder, folder / "checkpoints", Silence())
        KNN().train(context).save(folder)
        print((folder / INDEX_FILE).stat().st_size)
    print(peak_bytes())


def memory(options: argparse.Namespace) -> None:
    print("| index | peak, MB | above reading alone | index, MB | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data").mkdir()
        file = folder / "data" / "rows"
        with file.open("wb") as opened:
            for begin in range(0, options.rows, 100_000):
                count = min(100_000, options.rows - begin)
                rows = np.random.default_rng(begin).normal(size=(count, COLUMNS)).astype(np.float32)
                write_numpy_to_dense_tensor(opened, rows, np.zeros(count, np.float32))
        peaks = {}
        # Twice: the first may have to compile kernels, which takes memory.
        for kind in ("none", "none", *(f"{side}{kind}" for kind in options.index for side in ("", "peer "))):
            command = [sys.executable, "-m", "bench.knn", "train", "--file", str(file), "--index", kind]
            command += ["--rows", str(options.rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
            peaks[kind] = int(done.stdout.split()[-1])
            if kind == "none":
                continue
            above = peaks[kind] - peaks["none"]
            size = int(done.stdout.split()[-2])
            print(f"| {kind} | {peaks[kind] / 1e6:.0f} | {above / 1e6:.0f} | {size / 1e6:.0f} | {above / size:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["speed", "memory", "train"], default="speed")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--index", nargs="+", default=[FLAT, IVF_FLAT])
    parser.add_argument("--clock", choices=["wall", "process"], default="wall")
    parser.add_argument("--file", type=Path, help="for train, which memory starts")
    options = parser.parse_args()
    if options.what == "train":
        with tempfile.TemporaryDirectory() as folder:
            train(options.file, options.index[0], Path(folder), options.rows)
        return
    print(describe("faiss-cpu"))
    (speed if options.what == "speed" else memory)(options)


if __name__ == "__main__":
    main()
