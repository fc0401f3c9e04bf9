"""How fast rows are read: CSV to float32 against pyarrow, and RecordIO-protobuf; bits, threads, memory.

    python bench/data_readers.py [speed | threads | memory] [--megabytes 200] [--rounds 7]

Files lie in the page cache. `speed`: one thread of each, alternated, processor time of the whole process (a busy
machine disturbs it less than the clock), median and spread. pyarrow reads the same stream of blocks, with one thread,
and its columns are put into float32 rows as ours are. Every value is compared with NumPy's. `threads`: two threads
over one by the clock, in pairs, which only a machine with two free cores shows. `memory`: the peak of a process that
reads 1 and 10 million rows of 20 columns.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.machine import describe
from wildsage.contract.channels import Channel
from wildsage.data.readers import open_channel
from wildsage.data.recordio import write_numpy_to_dense_tensor

CSV, RECORDIO = "text/csv;label_size=0", "application/x-recordio-protobuf"
FORMS = {"6 decimals": "%.6f", "9 significant": "%.9g", "17 significant": "%.17g", "integers": "%d"}
COLUMNS = 50
BATCH_BYTES = 1 << 20


def write_csv(path: Path, form: str, megabytes: int) -> None:
    """A block of random rows, again and again."""
    values = np.random.default_rng(0).normal(size=(10_000, COLUMNS)) * (1000 if form == "%d" else 1)
    block = "".join(",".join(form % value for value in row) + "\n" for row in values).encode()
    with path.open("wb") as file:
        for _ in range(max(1, megabytes * 1_000_000 // len(block))):
            file.write(block)


def write_records(path: Path, columns: int, megabytes: int) -> None:
    rows = np.random.default_rng(0).normal(size=(megabytes * 1_000_000 // (4 * columns + 40), columns))
    with path.open("wb") as file:
        write_numpy_to_dense_tensor(file, rows.astype(np.float32), np.arange(len(rows), dtype=np.float32))


def ours(path: Path, content_type: str, columns: int, threads: int = 1) -> Callable[[], int]:
    channel = Channel("train", path, content_type)
    stream = open_channel(channel, batch_rows=max(1, BATCH_BYTES // (4 * columns)), threads=threads)
    return lambda: sum(len(batch) for batch in stream)


def arrow(path: Path) -> Callable[[], int]:
    import pyarrow
    from pyarrow import csv

    def read() -> int:
        options = csv.ReadOptions(use_threads=False, block_size=1 << 20, column_names=[f"{k}" for k in range(COLUMNS)])
        kinds = {f"{k}": pyarrow.float32() for k in range(COLUMNS)}
        total, rows = 0, np.empty((1 << 16, COLUMNS), np.float32)
        with csv.open_csv(path, options, convert_options=csv.ConvertOptions(column_types=kinds)) as reader:
            for batch in reader:
                for number, column in enumerate(batch.columns):
                    rows[: len(batch), number] = column.to_numpy()
                total += len(batch)
        return total

    return read


def timed(work: Callable[[], int], clock: Callable[[], float]) -> float:
    begin = clock()
    work()
    return clock() - begin


def alternated(works: dict[str, Callable[[], int]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    for work in works.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(timed(work, clock))
    return seconds


def row(name: str, size: int, seconds: list[float]) -> str:
    speeds = sorted(size / each / 1e6 for each in seconds)
    return f"{name:34s} {statistics.median(speeds):7.0f} MB/s  ({speeds[0]:.0f} to {speeds[-1]:.0f})"


def differing(path: Path) -> tuple[int, int]:
    """How many values have other bits than NumPy's, of how many."""
    wrong = total = 0
    stream = open_channel(Channel("train", path, CSV), batch_rows=5000)
    with path.open() as file:
        for batch in stream:
            texts = "".join(next(file) for _ in range(len(batch))).replace("\n", ",").split(",")[:-1]
            expected = np.array(texts, np.float64).astype(np.float32).view(np.uint32)
            wrong += int((batch.dense().reshape(-1).view(np.uint32) != expected).sum())
            total += len(texts)
            if total > 3_000_000:
                break
    return wrong, total


def speed(folder: Path, megabytes: int, rounds: int) -> None:
    for name, form in FORMS.items():
        path = folder / "a.csv"
        write_csv(path, form, megabytes)
        seconds = alternated({"ours": ours(path, CSV, COLUMNS), "pyarrow": arrow(path)}, rounds, time.process_time)
        wrong, total = differing(path)
        ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["pyarrow"], strict=True))
        print(row(f"CSV, {name}, ours", path.stat().st_size, seconds["ours"]), f" {wrong} of {total} bits differ")
        print(row(f"CSV, {name}, pyarrow", path.stat().st_size, seconds["pyarrow"]), f" ours {ratio:.1f}x")
        path.unlink()
    for columns in (50, 784):
        path = folder / "a.pbr"
        write_records(path, columns, 2 * megabytes)
        seconds = alternated({"ours": ours(path, RECORDIO, columns)}, rounds, time.process_time)
        print(row(f"RecordIO, {columns} columns", path.stat().st_size, seconds["ours"]))
        path.unlink()


def threads(folder: Path, megabytes: int, rounds: int) -> None:
    files = {"CSV": (folder / "a.csv", CSV, 50), "RecordIO": (folder / "a.pbr", RECORDIO, 50)}
    files["RecordIO, 784 columns"] = (folder / "b.pbr", RECORDIO, 784)
    write_csv(files["CSV"][0], "%.6f", megabytes)
    write_records(files["RecordIO"][0], 50, 2 * megabytes)
    write_records(files["RecordIO, 784 columns"][0], 784, 2 * megabytes)
    for name, (path, kind, columns) in files.items():
        works = {"one": ours(path, kind, columns), "two": ours(path, kind, columns, 2)}
        wall = alternated(works, rounds, time.perf_counter)
        ratios = sorted(a / b for a, b in zip(wall["one"], wall["two"], strict=True))
        print(row(f"{name}, one thread, clock", path.stat().st_size, wall["one"]))
        print(row(f"{name}, two threads, clock", path.stat().st_size, wall["two"]), end=" ")
        print(f" {statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def memory(folder: Path) -> None:
    values = np.random.default_rng(0).normal(size=(10_000, 20))
    block = "".join(",".join(f"{value:.4f}" for value in each) + "\n" for each in values).encode()
    for million in (1, 10):
        path = folder / "a.csv"
        with path.open("wb") as file:
            for _ in range(100 * million):
                file.write(block)
        command = [sys.executable, "-m", "bench.data_readers", "peak", "--file", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
        print(f"{million:3d} million rows, {path.stat().st_size / 1e9:.1f} GB of CSV: {done.stdout.strip()}")
        path.unlink()


def peak(path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = ours(path, CSV, 20, 2)()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{rows} rows, peak {after / 1024:.0f} MB, {(after - before) / 1024:.0f} MB above what the imports take")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", default="speed", choices=["speed", "threads", "memory", "peak"])
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "peak":
        peak(arguments.file)
        return
    print(describe("pyarrow"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.what == "memory":
            memory(folder)
        else:
            work = speed if arguments.what == "speed" else threads
            work(folder, arguments.megabytes, arguments.rounds)


if __name__ == "__main__":
    main()
