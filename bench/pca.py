"""Claim: PCA is exact, 20 times as fast as scikit-learn's IncrementalPCA, and not slower than its PCA in memory.

    python -m bench.pca --peers PYTHON [--rows 400000] [--columns 50] [--components 10] [--rounds 5] [--growth]

PYTHON: an interpreter that has scikit-learn and pandas. Rows are random, of falling variance, turned and moved, or with
`--columns 784` those of mnist-10k, again and again. Ours and the peers' alternate on the same array in memory: ours
takes it in batches of 8 MB, IncrementalPCA in batches of the same size; times of one thread are of
the processor, which a busy machine disturbs least, and all are told by the clock, too. Two threads over one are in
pairs, by the clock. The whole job is from a file to a saved model: ours is `wildsage.runtime.train`, a process of its
own, as a whole and its training alone; the peer's is pandas and PCA in a process that has loaded them. Exact is NumPy's
eigh of the covariance in float64; the peers keep to the array's float32. `--growth` tells ours alone at 10,000 to
`--rows` rows, and its peak of memory. Data lie in WILDSAGE_DATA, or in ../shared/data beside the checkout.
"""

from __future__ import annotations

import os

from wildsage.runtime import blas

blas.prepare()  # before NumPy is loaded

import argparse  # noqa: E402
import gzip  # noqa: E402
import json  # noqa: E402
import resource  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from bench.machine import describe  # noqa: E402
from wildsage.algorithms.pca import algorithm  # noqa: E402
from wildsage.algorithms.pca.hyperparameters import PCAHyperparameters  # noqa: E402
from wildsage.algorithms.pca.model import PCAModel  # noqa: E402
from wildsage.algorithms.pca.state import Components, Covariance, Sketch  # noqa: E402
from wildsage.algorithms.streaming import Workers  # noqa: E402
from wildsage.contract.channels import Channel, write_channels  # noqa: E402
from wildsage.contract.hyperparameters import write_hyperparameters  # noqa: E402
from wildsage.contract.layout import Layout  # noqa: E402
from wildsage.data.batch import Batch, Origin  # noqa: E402
from wildsage.data.csv import write_csv  # noqa: E402
from wildsage.data.recordio import write_numpy_to_dense_tensor  # noqa: E402

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("WILDSAGE_DATA", ROOT.parent / "shared" / "data"))
PEER = Path(__file__).parent / "peers" / "pca.py"
PIECE = 1 << 17  # rows made at once


def make(rows: int, columns: int) -> np.ndarray:
    """float32 (rows, columns)."""
    if columns == 784:
        with gzip.open(DATA / "mnist-10k" / "mnist_test.csv.gz") as file:
            read = np.loadtxt(file, np.float32, delimiter=",", skiprows=1)
        return np.resize(read[:, -784:], (rows, 784))
    random = np.random.default_rng(0)
    turn = np.linalg.qr(random.standard_normal((columns, columns)))[0] * 1.1 ** -np.arange(columns)[:, None]
    made = np.empty((rows, columns), np.float32)
    for begin in range(0, rows, PIECE):
        part = made[begin : begin + PIECE]
        part[:] = random.standard_normal(part.shape, np.float32) @ turn.astype(np.float32) + 10
    return made


def exact(rows: np.ndarray, components: int) -> np.ndarray:
    """Components, (k, d), the largest first, by float64 throughout."""
    mean = rows.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((rows.shape[1],) * 2)
    for begin in range(0, len(rows), PIECE):
        part = rows[begin : begin + PIECE] - mean
        scatter += part.T @ part
    return np.linalg.eigh(scatter)[1][:, ::-1][:, :components].T


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    signs = np.sign((ours * theirs).sum(axis=1, keepdims=True))
    return float(np.abs(ours * signs - theirs).max())


def fit(rows: np.ndarray, components: int, threads: int, mode: str = "regular") -> tuple[Components, float, float]:
    """Ours on an array in memory: components, seconds by the clock and of the processor."""
    parameters = PCAHyperparameters.parse({"num_components": components, "algorithm_mode": mode})
    size, dim = algorithm._batch_rows(parameters, rows.shape[1]), rows.shape[1]
    nothing = Origin([""], np.zeros(size, np.int32), np.zeros(size, np.int64))
    with Workers(threads) as workers:
        wall, cpu = time.perf_counter(), time.process_time()
        state: Covariance | Sketch
        if mode == "regular":
            state = Covariance(dim, workers)
        else:
            state = Sketch(dim, workers, parameters.sketch_width(dim), 0)
        for begin in range(0, len(rows), size):
            part = rows[begin : begin + size]
            state.update(Batch(part, None, None, nothing.part(0, len(part))))
        found = state.components(components, subtract_mean=True)
        return found, time.perf_counter() - wall, time.process_time() - cpu


class Peer:
    """A process that has the array in memory."""

    def __init__(self, python: str, arguments: list[str], out: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [python, str(PEER), *arguments, str(out)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self.out = out

    def run(self, kind: str) -> tuple[np.ndarray, float, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{kind}\n")
        self.process.stdin.flush()
        took = json.loads(self.process.stdout.readline())
        return np.load(self.out), took["wall"], took["cpu"]

    def close(self) -> None:
        self.process.communicate()


def job(folder: Path, file: Path, kind: str, components: int, threads: int) -> tuple[float, float, np.ndarray, float]:
    """A job from a file to a saved model: seconds of all and of training, components, peak of memory in MB."""
    layout = Layout(folder / f"job-{file.suffix[1:]}-{threads}-{time.monotonic_ns()}")
    layout.create()
    layout.channel("train").mkdir(parents=True)
    os.link(file, layout.channel("train") / file.name)
    write_hyperparameters(layout.hyperparameters, {"num_components": str(components)})
    write_channels(layout, [Channel("train", layout.channel("train"), kind)])
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(layout.base), "OMP_NUM_THREADS": str(threads)}
    begun = time.perf_counter()
    command = [sys.executable, "-m", "wildsage.runtime.train", "--algorithm", "pca"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    peak = done.stdout.rpartition("peak memory ")[2].partition(";")[0]
    laps = json.loads(layout.summary.read_text())["seconds"]
    training = laps["total"] - laps["start"] - laps["save"]
    return seconds, training, PCAModel.load(layout.model).vectors.T[::-1], float(peak.split()[0].replace(",", ""))


def told(name: str, seconds: list[float], rows: int, base: float, error: float) -> None:
    middle = statistics.median(seconds)
    spread = f"{min(seconds):.3f}-{max(seconds):.3f}"
    print(f"| {name} | {middle:.3f} | {spread} | {rows / middle / 1e6:.3f} | {middle / base:.2f} | {error:.1e} |")


def compare(given: argparse.Namespace, rows: np.ndarray, folder: Path) -> None:
    truth = exact(rows, given.components)
    csv, recordio, array = folder / "rows.csv", folder / "rows.recordio", folder / "rows.npy"
    np.save(array, rows)
    with csv.open("wb") as file:
        write_csv(file, rows)
    with recordio.open("wb") as file:
        write_numpy_to_dense_tensor(file, rows)
    size = algorithm._batch_rows(PCAHyperparameters.parse({"num_components": 1}), rows.shape[1])
    peer = None
    if given.peers:
        peer = Peer(given.peers, [str(array), str(csv), str(given.components), str(size)], folder / "found.npy")
    fit(rows[: 2 * size], given.components, 2)  # compiles
    fit(rows[: 2 * size], given.components, 1, "randomized")
    walls: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}
    errors: dict[str, float] = {}
    ratios = []
    for number in range(given.rounds):
        pair = {}
        for threads in (1, 2):
            found, wall, cpu = fit(rows, given.components, threads)
            name = f"ours, {threads} thread{'s' * (threads > 1)}"
            walls.setdefault(name, []).append(wall)
            cpus.setdefault(name, []).append(cpu)
            errors[name] = apart(found.vectors.T[::-1], truth)
            pair[threads] = wall
        ratios.append(pair[1] / pair[2])
        found, wall, cpu = fit(rows, given.components, 1, "randomized")
        walls.setdefault("ours, randomized", []).append(wall)
        cpus.setdefault("ours, randomized", []).append(cpu)
        errors["ours, randomized"] = apart(found.vectors.T[::-1], truth)
        for kind in ("covariance", "incremental") if peer else ():
            if kind == "incremental" and number >= given.slow_rounds:
                continue
            vectors, wall, cpu = peer.run(kind)
            walls.setdefault(kind, []).append(wall)
            cpus.setdefault(kind, []).append(cpu)
            errors[kind] = apart(vectors, truth)
    first = "ours, 1 thread"
    for title, times in (("seconds of the processor", cpus), ("seconds by the clock", walls)):
        print(f"\n| in memory | {title} | lowest-highest | million rows/s | times ours | off the exact |")
        print("|---|---|---|---|---|---|")
        for name, seconds in times.items():
            told(name, seconds, len(rows), statistics.median(times[first]), errors[name])
    print(
        f"\nTwo threads over one: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}), by the clock"
    )
    print("\n| from a file | seconds by the clock | lowest-highest | million rows/s | times ours | off the exact |")
    print("|---|---|---|---|---|---|")
    jobs: dict[str, list[float]] = {}
    for _ in range(given.rounds + 1):  # the first is not counted
        for file, kind in ((csv, "text/csv"), (recordio, "application/x-recordio-protobuf")):
            for threads in (1, 2):
                seconds, training, vectors, _ = job(folder, file, kind, given.components, threads)
                name = f"ours, {file.suffix[1:]}, {threads} thread{'s' * (threads > 1)}"
                for each, took in ((name, seconds), (f"{name}, training", training)):
                    jobs.setdefault(each, []).append(took)
                    errors[each] = apart(vectors, truth)
        if peer:
            _, wall, _ = peer.run("file")
            jobs.setdefault("pandas and PCA, csv", []).append(wall)
            errors["pandas and PCA, csv"] = errors["covariance"]
    for name, seconds in jobs.items():
        told(name, seconds[1:], len(rows), statistics.median(jobs["ours, csv, 1 thread"][1:]), errors[name])
    if peer:
        peer.close()


def growth(given: argparse.Namespace, rows: np.ndarray, folder: Path) -> None:
    print(
        "\n| rows | in memory, seconds | million rows/s | job from RecordIO, seconds | its peak, MB |"
        "\n|---|---|---|---|---|"
    )
    counts = [count for count in (10_000, 100_000, 1_000_000, 10_000_000) if count < len(rows)] + [len(rows)]
    for count in counts:
        seconds = statistics.median(fit(rows[:count], given.components, 1)[1] for _ in range(3))
        file = folder / f"rows-{count}.recordio"
        with file.open("wb") as opened:
            for begin in range(0, count, PIECE):
                write_numpy_to_dense_tensor(opened, rows[begin : min(count, begin + PIECE)])
        took, _, _, peak = job(folder, file, "application/x-recordio-protobuf", given.components, 1)
        file.unlink()
        print(f"| {count:,} | {seconds:.3f} | {count / seconds / 1e6:.2f} | {took:.2f} | {peak:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with scikit-learn and pandas")
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=3, help="of IncrementalPCA")
    parser.add_argument("--growth", action="store_true")
    given = parser.parse_args()
    packages: Any = ("scipy",)
    print(f"{describe(*packages)}\n{given.rows:,} rows of {given.columns} columns, {given.components} components")
    rows = make(given.rows, given.columns)
    with tempfile.TemporaryDirectory() as name:
        (growth if given.growth else compare)(given, rows, Path(name))
    print(f"\nPeak of memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB")


if __name__ == "__main__":
    main()
