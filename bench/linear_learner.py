"""Claim: 32 linear models cost no more a pass than one of scikit-learn's SGDClassifier, and the best is as good as
LogisticRegression.

    python -m bench.linear_learner [--rows 400000] [--rounds 5] [--peer PYTHON]

PYTHON is an interpreter that has scikit-learn (WILDSAGE_PEER_PYTHON; default: this one). Generated data: 50 normal
columns, labels by the odds of a plane. The kernel alone is one epoch over rows in memory, ours and the peer's in turn,
by the clock and by processor time; two threads are ours alone, in turn with one. A whole job is from a file to a saved
model, one epoch. On real data both choose by the same validation rows, ours with all hyperparameters left alone; data
lie in WILDSAGE_DATA, or in ../shared/data beside the checkout.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from bench.machine import describe
from wildsage.algorithms.context import Silence, TrainingContext
from wildsage.algorithms.linear_learner import LinearLearner
from wildsage.algorithms.linear_learner.hyperparameters import LinearLearnerHyperparameters
from wildsage.algorithms.linear_learner.state import LinearState
from wildsage.algorithms.streaming import Workers
from wildsage.contract.channels import Channel
from wildsage.data.batch import Batch, Origin
from wildsage.data.recordio import write_numpy_to_dense_tensor

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("WILDSAGE_DATA", ROOT.parent / "shared" / "data"))
COLUMNS = 50
HANDED_ROWS = 40_000


class Peer:
    """scikit-learn in a process of its own."""

    def __init__(self, python: str) -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [python, str(ROOT / "bench" / "peers" / "linear.py")]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )  # fmt: skip

    def ask(self, **request: Any) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


class Notes(Silence):
    """A reporter that keeps metrics and facts."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.facts: dict[str, Any] = {}

    def metric(self, name: str, value: float, *, epoch: int | None = None) -> None:
        self.metrics[name] = value

    def summary(self, **facts: Any) -> None:
        self.facts.update(facts)


def generated(rows: int, seed: int) -> np.ndarray:
    """float32 (rows, 1 + COLUMNS), the label first."""
    random = np.random.default_rng(seed)
    plane = np.random.default_rng(0).normal(0, 0.4, COLUMNS)
    made = random.normal(size=(rows, 1 + COLUMNS)).astype(np.float32)
    made[:, 0] = random.random(rows) < 1 / (1 + np.exp(-(made[:, 1:] @ plane)))
    return made


def batches(table: np.ndarray) -> Iterator[Batch]:
    for at in range(0, len(table), HANDED_ROWS):
        part = table[at : at + HANDED_ROWS]
        numbers = np.arange(len(part))
        origin = Origin(["rows"], np.zeros(len(part), np.int32), numbers)
        yield Batch(np.ascontiguousarray(part[:, 1:]), part[:, 0].copy(), None, origin)


def one_pass(parts: list[Batch], threads: int, models: int) -> tuple[float, float]:
    """Seconds by the clock, and of processor time, of one epoch."""
    given = {"predictor_type": "binary_classifier", "num_models": models, "mini_batch_size": 1000}
    with Workers(threads) as workers:
        state = LinearState(LinearLearnerHyperparameters.parse(given), COLUMNS, workers, keeps_sample=False)
        begun, used = time.perf_counter(), time.process_time()
        for part in parts:
            state.update(part)
        return time.perf_counter() - begun, time.process_time() - used


def job(
    channels: dict[str, Path], folder: Path, threads: int = 1, content_type: str = "text/csv", **given: Any
) -> tuple[Notes, float]:
    """Train and save; returns what was reported, and seconds."""
    notes = Notes()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        base = Path(scratch)
        (base / "model").mkdir()
        begun = time.perf_counter()
        context: TrainingContext[Any] = TrainingContext(
            LinearLearnerHyperparameters.parse(given),
            {name: Channel(name, path, content_type) for name, path in channels.items()},
            base, base / "checkpoints", notes, threads=threads,
        )  # fmt: skip
        LinearLearner().train(context).save(base / "model")
        return notes, time.perf_counter() - begun


def speed(table: np.ndarray, rounds: int, peer: Peer, files: dict[str, str]) -> None:
    parts = list(batches(table))
    one_pass(parts[:1], 1, 32)
    kinds: dict[str, Callable[[], tuple[float, float]]] = {
        "32 models, one thread": lambda: one_pass(parts, 1, 32),
        "SGDClassifier, one model": lambda: _pair(peer.ask(do="sgd", **files)),
        "32 models, two threads": lambda: one_pass(parts, 2, 32),
        "one model, one thread": lambda: one_pass(parts, 1, 1),
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, run in kinds.items():
            found[name].append(run())
    clock = {name: statistics.median(each[0] for each in times) for name, times in found.items()}
    cpu = {name: statistics.median(each[1] for each in times) for name, times in found.items()}
    print("| one pass | million rows/s | seconds | processor s | lowest-highest s | of SGDClassifier's |")
    print("|---|---|---|---|---|---|")
    for name, times in found.items():
        seconds = sorted(each[0] for each in times)
        print(
            f"| {name} | {len(table) / clock[name] / 1e6:.2f} | {clock[name]:.3f} | {cpu[name]:.3f} | "
            f"{seconds[0]:.3f}-{seconds[-1]:.3f} | {cpu[name] / cpu['SGDClassifier, one model']:.3f} |"
        )
    names = ("32 models, one thread", "32 models, two threads")
    ratios = sorted(one[0] / two[0] for one, two in zip(found[names[0]], found[names[1]], strict=True))
    print(f"\ntwo threads over one: {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})")


def _pair(answer: dict[str, float]) -> tuple[float, float]:
    return answer["seconds"], answer["cpu"]


def whole(table: np.ndarray, folder: Path) -> None:
    """From a file to a saved model."""
    places = {"text/csv": folder / "csv", "application/x-recordio-protobuf": folder / "recordio"}
    for place in places.values():
        place.mkdir()
    np.savetxt(places["text/csv"] / "rows.csv", table, fmt="%.6g", delimiter=",")
    with (places["application/x-recordio-protobuf"] / "rows").open("wb") as file:
        write_numpy_to_dense_tensor(file, table[:, 1:], table[:, 0])
    print("\n| file to model, one epoch of 32 models | MB | one thread s | million rows/s | two threads s |")
    print("|---|---|---|---|---|")
    for kind, place in places.items():
        size = sum(path.stat().st_size for path in place.iterdir()) / 1e6
        times = [[], []]  # type: list[list[float]]
        for number in range(4):
            for k in (0, 1):
                given = {"predictor_type": "binary_classifier", "epochs": 1}
                seconds = job({"train": place}, folder, k + 1, kind, **given)[1]
                times[k].extend([seconds] if number else [])
        one, two = (statistics.median(each) for each in times)
        print(f"| {kind} | {size:.0f} | {one:.3f} | {len(table) / one / 1e6:.2f} | {two:.3f} |")


def converged(table: np.ndarray, test: np.ndarray, folder: Path, peer: Peer, files: dict[str, str]) -> None:
    """The best model's loss on test rows beside that of the optimum."""
    places = {}
    for name, rows in {"train": table[: len(table) * 9 // 10], "validation": table[len(table) * 9 // 10 :],
                       "test": test}.items():  # fmt: skip
        places[name] = folder / f"converged-{name}"
        places[name].mkdir()
        with (places[name] / "rows").open("wb") as file:
            write_numpy_to_dense_tensor(file, rows[:, 1:], rows[:, 0])
    notes, seconds = job(places, folder, 1, "application/x-recordio-protobuf", predictor_type="binary_classifier")
    best = peer.ask(do="optimum", **files)
    ours = notes.metrics["test:objective_loss"]
    print(
        f"\ntest loss: {ours:.5f} after {notes.facts['epochs_run']} epochs and {seconds:.1f} s; LogisticRegression "
        f"{best['loss']:.5f} after {best['seconds']:.1f} s; {100 * (ours / best['loss'] - 1):+.3f} %"
    )


def real(folder: Path, peer: Peer) -> None:
    """Real data with nothing set."""
    print("\n| data | rows, columns | ours: test loss, score | scikit-learn's best | loss | ours, s |")
    print("|---|---|---|---|---|---|")
    for name, (kind, table) in sets().items():
        random = np.random.default_rng(0)
        table = table[random.permutation(len(table))]
        bounds = [0, int(0.7 * len(table)), int(0.85 * len(table)), len(table)]
        places, files = {}, {}
        for k, channel in enumerate(("train", "validation", "test")):
            places[channel] = folder / f"{name}-{channel}"
            places[channel].mkdir()
            files[channel] = str(places[channel] / "rows.csv")
            np.savetxt(files[channel], table[bounds[k] : bounds[k + 1]], fmt="%.9g", delimiter=",")
        given: dict[str, Any] = {"predictor_type": kind}
        if kind == "multiclass_classifier":
            given["num_classes"] = int(table[:, 0].max()) + 1
        notes, seconds = job(places, folder, **given)
        best = peer.ask(do="best", kind=kind, **files)
        found = notes.metrics
        if kind == "regressor":
            loss = found["test:mse"]
            score = 1 - loss / float(np.var(table[bounds[2] :, 0]))
        else:
            loss = found["test:objective_loss"]
            word = "binary_classification" if kind == "binary_classifier" else "multiclass"
            score = found[f"test:{word}_accuracy"]
        print(
            f"| {name} | {len(table):,}, {table.shape[1] - 1} | {loss:.5g}, {score:.4f} | {best['loss']:.5g}, "
            f"{best['score']:.4f} | {100 * (loss / best['loss'] - 1):+.2f} % | {seconds:.2f} |"
        )


def sets() -> dict[str, tuple[str, np.ndarray]]:
    """Name to kind and table, the label first."""

    def read(name: str, header: bool = False) -> list[list[str]]:
        path = DATA / name
        opener = gzip.open if name.endswith(".gz") else open
        with opener(path, "rt") as file:
            rows = [row for row in csv.reader(file) if row]
        return rows[1:] if header else rows

    cancer = read("breast-cancer/wdbc.csv", header=True)
    made = {
        "breast-cancer": ("binary_classifier", np.array([[float(r[0] == "M"), *map(float, r[1:])] for r in cancer]))
    }
    made["adult"] = ("binary_classifier", one_hot(read("adult/adult-train.csv.gz")))
    houses = np.array([[float(v) for v in r] for r in read("california-housing/cal_housing.csv.gz", True) if all(r)])
    made["california-housing"] = ("regressor", np.roll(houses, 1, axis=1))
    for colour in ("red", "white"):
        wine = np.array(read(f"wine-quality/winequality-{colour}.csv"), float)
        made[f"wine-{colour}"] = ("regressor", np.roll(wine, 1, axis=1))
    cover = np.roll(np.array(read("covtype-20k/covtype.20k.csv.gz"), float), 1, axis=1)
    cover[:, 0] -= 1
    made["covtype"] = ("multiclass_classifier", cover)
    return made


def one_hot(rows: list[list[str]]) -> np.ndarray:
    """adult: numbers as they are, words as columns of 0 and 1."""
    rows = [[value.strip() for value in row] for row in rows]
    columns: list[np.ndarray] = [np.array([">50K" in row[-1] for row in rows], float)]
    for place in range(len(rows[0]) - 1):
        values = [row[place] for row in rows]
        if all(value.lstrip("-").isdigit() for value in values):
            columns.append(np.array(values, float))
        else:
            columns += [np.array([value == kind for value in values], float) for kind in sorted(set(values))]
    return np.column_stack(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", default=os.environ.get("WILDSAGE_PEER_PYTHON", sys.executable))
    given = parser.parse_args()
    print(describe(), "\n")
    LinearLearner.warm_up()
    peer = Peer(given.peer)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            table, test = generated(given.rows, 1), generated(100_000, 2)
            files = {}
            for name, rows in (("train", table), ("test", test)):
                files[name] = str(folder / f"{name}.npy")
                np.save(files[name], rows)
            speed(table, given.rounds, peer, files)
            converged(table, test, folder, peer, files)
            whole(table, folder)
            real(folder, peer)
    finally:
        peer.close()


if __name__ == "__main__":
    main()
