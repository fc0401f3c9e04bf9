"""XGBoost behind our names beside the bare library: from matrix to trained, and from CSV file to saved model.

    WILDSAGE_DATA=… python -m bench.xgboost [--sets abalone,higgs] [--rows 200000] …

Training: both sides get one binned matrix each of training and validation rows, and measure both after each round; ours
also writes log lines, metrics.jsonl, progress and checkpoints. File to model: the bare side reads with pandas, makes
DMatrix objects, trains and saves. Ours and bare alternate (A B A B); medians, and the last validation metric of both.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import xgboost as bare

from bench.machine import describe
from wildsage.algorithms.context import TrainingContext
from wildsage.algorithms.xgboost import XGBoost, rows, training
from wildsage.algorithms.xgboost.hyperparameters import XGBoostHyperparameters
from wildsage.contract.builtins import table
from wildsage.contract.channels import Channel
from wildsage.contract.layout import Layout
from wildsage.contract.log import configure
from wildsage.contract.metrics import read_metrics
from wildsage.runtime.report import JobReporter

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("WILDSAGE_DATA", ROOT.parent / "shared" / "data"))
COLUMNS = 50


@dataclass(frozen=True)
class Set:
    """Rows with the label first, and what is learnt of them."""

    name: str
    values: np.ndarray
    parameters: dict[str, str]


def abalone(_: int) -> Set:
    with (DATA / "abalone" / "abalone.csv").open() as file:
        lines = [line.strip().split(",") for line in file if line.strip()]
    values = [[line[-1], "MFI".index(line[0]) + 1, *line[1:-1]] for line in lines]
    return Set("abalone", np.array(values, float), {"objective": "reg:squarederror", "eval_metric": "rmse"})


def bank(_: int) -> Set:
    with gzip.open(DATA / "bank-marketing" / "bank-additional-full.csv.gz", "rt") as file:
        lines = list(csv.reader(file, delimiter=";"))[1:]
    columns: list[np.ndarray] = [np.array([float(line[-1] == "yes") for line in lines])]
    for column in zip(*(line[:-1] for line in lines), strict=True):
        try:
            columns.append(np.array(column, float))
        except ValueError:
            # A column for each word, as in the service's example.
            columns += [np.array([float(value == word) for value in column]) for word in sorted(set(column))]
    return Set("bank", np.stack(columns, 1), {"objective": "binary:logistic", "eval_metric": "auc"})


def higgs(_: int) -> Set:
    values = pd.read_csv(DATA / "higgs-sample" / "train.tsv.gz", sep="\t", header=None).to_numpy(float)
    return Set("higgs", values, {"objective": "binary:logistic", "eval_metric": "logloss"})


def covtype(_: int) -> Set:
    values = pd.read_csv(DATA / "covtype-20k" / "covtype.20k.csv.gz", header=None).to_numpy(float)
    values = np.concatenate([values[:, -1:] - 1, values[:, :-1]], axis=1)
    parameters = {"objective": "multi:softprob", "num_class": "7", "eval_metric": "mlogloss"}
    return Set("covtype", values, parameters)


def generated(count: int) -> Set:
    random = np.random.default_rng(0)
    values = random.normal(size=(count, COLUMNS + 1)).astype(np.float32)
    score = values[:, 1] + values[:, 2] * values[:, 3] + np.square(values[:, 4]) - 1
    values[:, 0] = score + 0.5 * random.normal(size=count) > 0
    return Set(f"generated {count:,}", values, {"objective": "binary:logistic", "eval_metric": "error"})


SETS: dict[str, Callable[[int], Set]] = {
    "abalone": abalone, "bank": bank, "higgs": higgs, "covtype": covtype, "generated": generated,
}  # fmt: skip


def write_csv(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True)
    pd.DataFrame(values).to_csv(path, header=False, index=False, float_format="%.6g")


class Job:
    """One job of ours: its folder, its reporter and its context."""

    def __init__(self, folder: Path, channels: dict[str, Path], parameters: dict[str, str], threads: int) -> None:
        self.layout = layout = Layout(folder)
        layout.create()
        self.report = JobReporter(layout, table=table("xgboost"))
        self.context: TrainingContext[XGBoostHyperparameters] = TrainingContext(
            XGBoostHyperparameters.parse(parameters),
            {name: Channel(name, path, "text/csv") for name, path in channels.items()},
            layout.output_data, layout.checkpoints, self.report, Event(), threads,
        )  # fmt: skip


def bare_parameters(parameters: dict[str, str], threads: int) -> tuple[dict[str, Any], int]:
    kept: dict[str, Any] = {name: value for name, value in parameters.items() if name != "num_round"}
    return kept | {"nthread": threads}, int(parameters["num_round"])


def from_matrix(parameters: dict[str, str], found: dict[str, rows.Rows], threads: int, scratch: Path) -> list[Callable]:
    asked = XGBoostHyperparameters.parse(parameters)
    train = rows.matrix(found["train"], asked, threads)
    validation = rows.matrix(found["validation"], asked, threads, measured=True)
    told, rounds = bare_parameters(parameters, threads)

    def theirs(_: int) -> Callable[[], float]:
        return fit_bare

    def fit_bare() -> float:
        history: dict[str, Any] = {}
        evals = [(train, "train"), (validation, "validation")]
        bare.train(told, train, rounds, evals=evals, evals_result=history, verbose_eval=False)
        return float(next(iter(history["validation"].values()))[-1])

    def ours(number: int) -> Callable[[], float]:
        job = Job(scratch / f"train{threads}-{number}", {}, parameters, threads)
        return lambda: fit(job)

    def fit(job: Job) -> float:
        parts = [
            training.Part("train", train, found["train"].labels[:, 0]),
            training.Part("validation", validation, found["validation"].labels[:, 0]),
        ]
        done = training.train(
            job.context, parts, fingerprint="", folder=job.context.checkpoints,
            tell=lambda number, values, line: job.report.metrics(values, epoch=number, line=line),
            progress=lambda done: job.report.progress(done, rounds, unit="rounds"),
        )  # fmt: skip
        return done.last["validation:" + parameters["eval_metric"]]

    return [ours, theirs]


def from_file(parameters: dict[str, str], channels: dict[str, Path], threads: int, scratch: Path) -> list[Callable]:
    told, rounds = bare_parameters(parameters, threads)

    def theirs(number: int) -> Callable[[], float]:
        return lambda: fit_bare(number)

    def fit_bare(number: int) -> float:
        matrices = {}
        for name, folder in channels.items():
            frame = pd.concat([pd.read_csv(path, header=None) for path in sorted(folder.iterdir())])
            matrices[name] = bare.DMatrix(frame.iloc[:, 1:], frame.iloc[:, 0], nthread=threads)
        history: dict[str, Any] = {}
        evals = [(matrices[name], name) for name in channels]
        made = bare.train(told, matrices["train"], rounds, evals=evals, evals_result=history, verbose_eval=False)
        made.save_model(scratch / f"bare{threads}-{number}.ubj")
        return float(next(iter(history["validation"].values()))[-1])

    def ours(number: int) -> Callable[[], float]:
        job = Job(scratch / f"file{threads}-{number}", channels, parameters, threads)
        (scratch / f"model{threads}-{number}").mkdir()
        return lambda: fit(job, scratch / f"model{threads}-{number}")

    def fit(job: Job, folder: Path) -> float:
        model = XGBoost().train(job.context)
        model.save(folder)
        return read_metrics(job.layout.metrics)[-1].value

    return [ours, theirs]


def compare(title: str, sides: list[Callable], repeats: int, clock: Callable[[], float]) -> str:
    """Ours and theirs in turn; the first of each is not counted."""
    seconds: list[list[float]] = [[], []]
    metrics = [0.0, 0.0]
    for number in range(repeats + 1):
        order = (0, 1) if number % 2 else (1, 0)
        for side in order:
            run = sides[side](number)
            begun = clock()
            metrics[side] = run()
            if number:
                seconds[side].append(clock() - begun)
    middle = [statistics.median(each) for each in seconds]
    ratio = middle[0] / middle[1]
    best = min(seconds[0]) / min(seconds[1])
    spread = " | ".join(f"{m:.3f} ({min(each):.3f}-{max(each):.3f})" for m, each in zip(middle, seconds, strict=True))
    return f"| {title} | {spread} | {ratio:.2f} | {best:.2f} | {metrics[0]:.6f} | {abs(metrics[0] - metrics[1]):.1e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--rows", type=int, default=200_000, help="of the generated set")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--processor-time", action="store_true", help="for a busy machine, with one thread")
    given = parser.parse_args()
    clock = time.process_time if given.processor_time else time.perf_counter
    print(describe("xgboost", "pandas"))
    configure(open(os.devnull, "w"))  # noqa: SIM115 (for as long as the process lasts)
    XGBoost.warm_up()
    print("\n| data, threads | ours, s | bare, s | ratio | of the best | metric | difference |")
    print("|---" * 7 + "|")
    for name in given.sets.split(","):
        data = SETS[name](given.rows)
        order = np.random.default_rng(1).permutation(len(data.values))
        held = len(order) // 5
        with tempfile.TemporaryDirectory() as temporary:
            scratch = Path(temporary)
            channels = {part: scratch / "data" / part for part in ("train", "validation")}
            for part, chosen in (("train", order[held:]), ("validation", order[:held])):
                write_csv(channels[part] / "part.csv", data.values[chosen])
            parameters = {"num_round": str(given.rounds), **data.parameters}
            found = {}
            for part in channels:
                job = Job(scratch / f"read-{part}", channels, parameters, 2)
                found[part] = rows.read_all(rows.open_rows(job.context, part), job.context.hyperparameters)
            for threads in map(int, given.threads.split(",")):
                sides = from_matrix(parameters, found, threads, scratch)
                print(compare(f"{data.name}, {threads}, matrix to trained", sides, given.repeats, clock), flush=True)
                sides = from_file(parameters, channels, threads, scratch)
                print(compare(f"{data.name}, {threads}, file to model", sides, given.repeats, clock), flush=True)


if __name__ == "__main__":
    main()
