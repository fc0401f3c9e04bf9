"""Claim: k-means in one pass takes half the time of MiniBatchKMeans in one pass, and ends with less loss.

    python -m bench.kmeans [compare] [jobs] [threads] [growth] [memory] [--peers DIR] [--rows 300000] [--rounds 5]

Bars: 2 times as fast as scikit-learn's MiniBatchKMeans in one pass, 5 times as its default, 4 times as faiss with all
rows; loss (mean squared distance, all rows, float64) at most 1 % above the best of 3 full runs of KMeans where data
have no clusters, not above it where they have; 1.8 times as fast on two threads; memory that does not grow.

`compare`: ours and the peers in turn, one thread each, data in memory, on clustered and unclustered rows of 50 columns
with k = 100, mnist-10k with k = 10 and covtype-20k with k = 20. MiniBatchKMeans in one pass is measured twice: fed by
hand through partial_fit, and by fit(max_iter=1), which draws its rows and labels all of them at the end; mini-batches
have 5,000 rows. `jobs`: from a file (CSV, RecordIO-protobuf) to the saved model, the whole process and its training
alone, beside the kernel on rows in memory, and pandas with MiniBatchKMeans. `threads`: two over one by the clock.
`growth`: how time grows with rows, columns and k. `memory`: the peak with 1 million rows and with --rows.
DIR is a virtual environment that has scikit-learn and pandas; without it only faiss is run. Data lie in WILDSAGE_DATA,
or in ../shared/data beside the checkout. The peers run with the same OPENBLAS_CORETYPE as ours.
"""

from __future__ import annotations

from wildsage.runtime import blas

blas.prepare()

import argparse  # noqa: E402 (before NumPy is loaded, BLAS is told what to be)
import gzip  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterable, Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402
from threading import Event  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from bench.machine import describe  # noqa: E402
from wildsage.algorithms.kmeans.algorithm import STEP_ROWS  # noqa: E402
from wildsage.algorithms.kmeans.hyperparameters import KMeansHyperparameters  # noqa: E402
from wildsage.algorithms.kmeans.model import KMeansModel  # noqa: E402
from wildsage.algorithms.kmeans.state import KMeansState  # noqa: E402
from wildsage.algorithms.streaming import Workers  # noqa: E402
from wildsage.contract.channels import Channel, write_channels  # noqa: E402
from wildsage.contract.hyperparameters import write_hyperparameters  # noqa: E402
from wildsage.contract.layout import Layout  # noqa: E402
from wildsage.data.batch import Batch, Origin  # noqa: E402
from wildsage.data.recordio import write_numpy_to_dense_tensor  # noqa: E402

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("WILDSAGE_DATA", ROOT.parent / "shared" / "data"))
COLUMNS, K, BATCH = 50, 100, 5000
BARS = {"one pass": 2.0, "fit once": 2.0, "default": 5.0, "faiss": 4.0}
CSV, RECORDIO = "text/csv;label_size=0", "application/x-recordio-protobuf"
FORMS = {"csv": CSV, "recordio": RECORDIO}
WHERE = Origin(["rows"], np.zeros(0, np.int32), np.zeros(0, np.int64))
Rows = NDArray[np.float32]


def gaussian(rows: int, columns: int = COLUMNS, clusters: int = 0, seed: int = 0) -> Rows:
    """Rows of one Gaussian, or around middles that are 1.5 times as far apart as rows are from theirs."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(rows, columns)).astype(np.float32)
    if clusters:
        middles = 1.5 * random.normal(size=(clusters, columns)).astype(np.float32)
        made += middles[random.integers(0, clusters, rows)]
    return made


def table_of(name: str) -> Rows:
    """A set's features: its columns but the last."""
    with gzip.open(DATA / name, "rt") as file:
        return np.loadtxt(file, np.float32, delimiter=",")[:, :-1].copy()


def loss(rows: Rows, centres: Rows) -> float:
    """The mean squared distance to the nearest centre, in float64."""
    middle = rows.mean(axis=0, dtype=np.float64)
    points = centres - middle
    total = 0.0
    for begin in range(0, len(rows), 10_000):
        part = rows[begin : begin + 10_000] - middle
        squares = (part**2).sum(axis=1)[:, None] - 2 * part @ points.T + (points**2).sum(axis=1)
        total += float(np.maximum(squares.min(axis=1), 0).sum())
    return total / len(rows)


def fit(blocks: Iterable[Rows], columns: int, k: int, threads: int = 1, seed: int = 0) -> Rows:
    """Ours on rows in memory: the kernel alone."""
    parameters = KMeansHyperparameters.parse({"k": k, "mini_batch_size": BATCH, "seed": seed})
    with Workers(threads) as workers:
        state = KMeansState(parameters, columns, workers)
        for block in blocks:
            for begin in range(0, len(block), STEP_ROWS):
                state.update(Batch(block[begin : begin + STEP_ROWS], None, None, WHERE))
        return state.finalise(Event()).centres


class Peer:
    """A process that runs peers; see bench/peers/kmeans.py."""

    def __init__(self, python: Path, threads: int, folder: Path) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
        environment.pop("PYTHONPATH", None)
        self._centres = folder / f"centres {os.urandom(4).hex()}.npy"
        self._process = subprocess.Popen(
            [python, ROOT / "bench" / "peers" / "kmeans.py"], env=environment, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, method: str, **request: Any) -> tuple[float, float, Rows]:
        """Seconds by the clock and of the processor, and the centres."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        request |= {"method": method, "centres": str(self._centres), "batch": BATCH}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline() or '{"wall": NaN, "cpu": NaN}')
        return answer["wall"], answer["cpu"], np.load(self._centres)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextmanager
def peers(python: Path | None, threads: int, folder: Path) -> Iterator[dict[str, Peer]]:
    """The methods that there are, each with its process."""
    found = {"faiss": Peer(Path(sys.executable), threads, folder)}
    if python is not None:
        other = Peer(python / "bin" / "python", threads, folder)
        found |= dict.fromkeys(("one pass", "fit once", "default", "full", "job"), other)
    try:
        yield found
    finally:
        for peer in set(found.values()):
            peer.close()


def clocked(work: Callable[[], Rows]) -> tuple[float, float, Rows]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    sets: dict[str, tuple[Callable[[], Rows], int, bool]] = {
        "clustered": (lambda: gaussian(arguments.rows, clusters=K), K, True),
        "unclustered": (lambda: gaussian(arguments.rows), K, False),
        "mnist-10k": (lambda: table_of("mnist-10k/mnist_test.csv.gz"), 10, False),
        "covtype-20k": (lambda: table_of("covtype-20k/covtype.20k.csv.gz"), 20, False),
    }
    for name, (make, k, has_clusters) in sets.items():
        rows = make()
        data = folder / f"{name}.npy"
        np.save(data, rows)
        print(f"\n{name}: {len(rows):,} x {rows.shape[1]}, k = {k}, one thread")
        with peers(arguments.peers, 1, folder) as others:
            request = {"data": str(data), "k": k, "seed": 0}
            losses = []
            if "full" in others:
                seeds = [request | {"seed": seed} for seed in range(arguments.full)]
                losses = [loss(rows, others["full"].run("full", **each)[2]) for each in seeds]
            best = min(losses, default=float("nan"))
            methods = [method for method in BARS if method in others]
            found: dict[str, list[tuple[float, float, float]]] = {"ours": [], **{method: [] for method in methods}}
            fit([rows[:20_000]], rows.shape[1], k)  # warm
            for turn in range(arguments.rounds):
                wall, cpu, centres = clocked(lambda seed=turn: fit([rows], rows.shape[1], k, seed=seed))  # noqa: B023
                found["ours"].append((wall, cpu, loss(rows, centres)))
                for method in methods:
                    wall, cpu, centres = others[method].run(method, **request | {"seed": turn})
                    found[method].append((wall, cpu, loss(rows, centres)))
        ours = [each[1] for each in found["ours"]]
        print(f"{'':28s} clock s  processor s  over ours (spread)       loss   above the best full run")
        for method, runs in found.items():
            ratios = sorted(run[1] / mine for run, mine in zip(runs, ours, strict=True))
            mean = statistics.mean(run[2] for run in runs)
            bar = f"  bar {BARS[method]:g}" if method in BARS else ""
            print(
                f"{method:28s} {median(r[0] for r in runs):7.3f}  {median(r[1] for r in runs):11.3f}  "
                f"{median(ratios):9.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}){bar:9s}  {mean:10.4f}  "
                f"{100 * (mean / best - 1):+.2f} %"
            )
        if losses:
            allowed = "not above it" if has_clusters else "1 % above it"
            told = ", ".join(f"{each:.4f}" for each in losses)
            print(f"{f'full, {len(losses)} runs':28s} losses {told}; bar: {allowed}")


def write_file(path: Path, form: str, rows: int, columns: int = COLUMNS) -> None:
    """A block of clustered rows, again and again."""
    block = gaussian(min(rows, 20_000), columns, clusters=K)
    with path.open("wb") as file:
        if form == "csv":
            text = "".join(",".join(f"{value:.6f}" for value in row) + "\n" for row in block.tolist()).encode()
            for _ in range(max(1, rows // len(block))):
                file.write(text)
        else:
            for _ in range(max(1, rows // len(block))):
                write_numpy_to_dense_tensor(file, block)


def lay_out(base: Path, path: Path, form: str, k: int) -> Layout:
    layout = Layout(base)
    layout.create()
    write_hyperparameters(layout.hyperparameters, {"k": str(k)})
    layout.channel("train").mkdir(parents=True, exist_ok=True)
    link = layout.channel("train") / path.name
    link.unlink(missing_ok=True)
    link.symlink_to(path)
    write_channels(layout, [Channel("train", layout.channel("train"), FORMS[form])])
    return layout


def whole_job(base: Path, path: Path, form: str, k: int, threads: int) -> tuple[float, dict[str, float]]:
    """Seconds of the process, and what it says of itself."""
    layout = lay_out(base, path, form, k)
    environment = os.environ | {"SAGEMAKER_BASE_DIR": str(layout.base), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "wildsage.runtime.train", "--algorithm", "kmeans"]
    begun = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    seconds = time.perf_counter() - begun
    KMeansModel.load(layout.model)
    return seconds, json.loads(layout.summary.read_text())["seconds"]


def jobs(arguments: argparse.Namespace, folder: Path) -> None:
    print(f"\nfrom file to model: {arguments.rows:,} x {COLUMNS}, k = {K}; seconds by the clock, medians")
    print(f"{'':10s} threads  size MB  process  its training  kernel alone")
    block = gaussian(20_000, clusters=K)
    for form in FORMS:
        path = folder / f"rows.{form}"
        write_file(path, form, arguments.rows)
        for threads in (1, 2):
            runs = [whole_job(folder / f"job {form}", path, form, K, threads) for _ in range(arguments.rounds)]
            again = [block] * max(1, arguments.rows // len(block))
            alone = [clocked(lambda n=threads: fit(again, COLUMNS, K, n))[0] for _ in range(arguments.rounds)]  # noqa: B023
            print(
                f"{form:10s} {threads:7d}  {path.stat().st_size / 1e6:7.0f}  {median(r[0] for r in runs):7.2f}  "
                f"{median(sum(r[1][name] for name in ('train', 'reduce')) for r in runs):12.2f}  {median(alone):12.2f}"
            )
        if form == "csv":
            with peers(arguments.peers, 1, folder) as others:
                if "job" in others:
                    seconds = [others["job"].run("job", csv=str(path), k=K, seed=0)[0] for _ in range(3)]
                    print(f"{'pandas and MiniBatchKMeans':26s} {median(seconds):9.2f} (without starting Python)")
        path.unlink()


def threads(arguments: argparse.Namespace, folder: Path) -> None:
    print("\ntwo threads over one, rows in memory, by the clock, in pairs")
    for columns, k, count in (
        (COLUMNS, K, 1_000_000),
        (COLUMNS, 10, 2_000_000),
        (COLUMNS, 1000, 300_000),
        (784, 10, 60_000),
    ):
        block = gaussian(20_000, columns, clusters=k)
        blocks = [block] * (count // len(block))
        fit(blocks[:2], columns, k, 2)
        pairs = [
            [clocked(lambda n=number: fit(blocks, columns, k, n))[0] for number in (1, 2)]  # noqa: B023
            for _ in range(arguments.rounds)
        ]
        ratios = sorted(one / two for one, two in pairs)
        print(
            f"{count:10,} x {columns:3d}, k {k:4d}: {median(p[0] for p in pairs):.2f} s and "
            f"{median(p[1] for p in pairs):.2f} s, {median(ratios):.2f} times "
            f"({ratios[0]:.2f}-{ratios[-1]:.2f}); bar 1.8"
        )


def growth(arguments: argparse.Namespace, folder: Path) -> None:
    print("\ngrowth, one thread, rows in memory (a block of 20,000 again and again), processor time")
    sizes = [(count, COLUMNS, K) for count in (30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)]
    sizes = [size for size in sizes if size[0] <= max(1_000_000, arguments.rows)]
    sizes += [(200_000, columns, K) for columns in (5, 20, 100, 200, 784)]
    sizes += [(200_000, COLUMNS, k) for k in (2, 10, 30, 300, 1000)]
    for count, columns, k in sizes:
        block = gaussian(20_000, columns, clusters=k)
        blocks = [block] * (count // len(block)) or [block[:count]]
        _, cpu, _ = clocked(lambda: fit(blocks, columns, k))  # noqa: B023
        done = sum(map(len, blocks))
        flops = 2 * columns * k * done / cpu / 1e9
        print(
            f"{done:12,} rows  {columns:4d} columns  k {k:5d}  {cpu:8.3f} s  {1e9 * cpu / done:8.0f} ns/row  "
            f"{flops:6.1f} GFLOP/s of products with k centres"
        )


def memory(arguments: argparse.Namespace, folder: Path) -> None:
    print(f"\npeak memory of the whole job, RecordIO, {COLUMNS} columns, k = {K}, two threads")
    for count in sorted({1_000_000, max(1_000_000, arguments.rows)}):
        path = folder / "rows.recordio"
        write_file(path, "recordio", count)
        layout = lay_out(folder / f"memory {count}", path, "recordio", K)
        command = [sys.executable, "-m", "bench.kmeans", "peak", "--base", str(layout.base)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        print(f"{count:12,} rows, {path.stat().st_size / 1e9:.1f} GB: {done.stdout.strip().splitlines()[-1]}")
        path.unlink()


def peak(base: Path) -> None:
    os.environ |= {"SAGEMAKER_BASE_DIR": str(base), "OMP_NUM_THREADS": "2"}
    from wildsage.runtime import train

    if train.main(["--algorithm", "kmeans"]):
        raise SystemExit("the job failed")
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def main() -> None:
    parts = {"compare": compare, "jobs": jobs, "threads": threads, "growth": growth, "memory": memory}
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["compare", "threads"], metavar="PART", help=", ".join(parts))
    parser.add_argument("--peers", type=Path, help="virtual environment with scikit-learn and pandas")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", type=int, default=3, help="runs of KMeans, for its loss; they take longest")
    parser.add_argument("--base", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.parts == ["peak"]:
        peak(arguments.base)
        return
    for part in arguments.parts:
        if part not in parts:
            parser.error(f"{part} is none of {', '.join(parts)}")
    print(describe("faiss-cpu"))
    with tempfile.TemporaryDirectory() as name:
        for part in arguments.parts:
            parts[part](arguments, Path(name))


if __name__ == "__main__":
    main()
