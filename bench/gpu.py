"""Claim: on a GPU, 200 million words/s of skip-gram at dim 100, and 100 million tokens/s of classification.

    python -m bench.gpu [--gensim PYTHON] [--rounds 3] [--copies 8] [--epochs 5] [--rate 0.05] [--skip words,lines]

Beside the GPU: our own CPU kernels, fastText and gensim, all with every core of the machine, in turn. Words: the text
of corpus-en, in `copies` copies (eight are 115 million words), window 5, 5 negatives, minimum count 5. Lines: sst2,
tweeteval-emoji and the documents of bench/supervised_speed.py, bigrams, dim 100. Words/s are of the epochs alone, as a
job reports them; seconds are from the text file to a trained model in memory, kernels compiled. Qualities as in
bench/word_vectors.py and bench/supervised_speed.py. Without a GPU this says so, and measures nothing.
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
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any

from bench import supervised_speed, word_vectors
from bench.machine import describe
from bench.supervised_quality import BUCKETS, DEFAULTS
from wildsage.algorithms.context import Silence

DATA = word_vectors.DATA
LINES = ("sst2", "emoji", "documents")


class Facts(Silence):
    """A reporter that keeps what a job says of itself at its end."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def summary(self, **facts: Any) -> None:
        self.facts.update(facts)


def gpu() -> str | None:
    """The GPU's name; None if there is none, or nothing to use it with."""
    if find_spec("numba_cuda") is None:
        return None
    from numba import cuda

    if not cuda.is_available():
        return None
    name = cuda.get_current_device().name
    return name.decode() if isinstance(name, bytes) else str(name)


def words(given: argparse.Namespace, folder: Path) -> None:
    """The table of skip-gram."""
    text, cores = folder / "corpus.txt", os.cpu_count() or 1
    with text.open("wb") as file:
        for _ in range(given.copies):
            with gzip.open(DATA / "corpus-en" / "corpus.txt.gz") as packed:
                shutil.copyfileobj(packed, file, 1 << 20)
    sides = {"ours, GPU": ("ours", sys.executable), "ours": ("ours", sys.executable)}
    sides |= {"fasttext": ("fasttext", sys.executable)}
    if given.gensim:
        sides["gensim"] = ("gensim", given.gensim)
    settings = {"epochs": given.epochs, "threads": cores, "rate": given.rate, **word_vectors.JOBS["skipgram-100"]}
    facts: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    qualities: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for seed in range(1, given.rounds + 1):
        for name, (who, python) in sides.items():
            more = {"device": "cuda" if "GPU" in name else "cpu"} if who == "ours" else {}
            facts[name].append(
                word_vectors.run(who, python, text, folder / "out", {**settings, "seed": seed, "more": more})
            )
            qualities[name].append(word_vectors.quality(folder / "out"))
    count = sum(len(line.split()) + 1 for line in text.open(encoding="utf-8"))
    names = [*word_vectors.SETS, "analogies"]
    print(f"\nskip-gram, dim 100, {count:,} words, {given.epochs} epochs, {cores} cores\n")
    print(f"| | s, whole | s, epochs | million words/s | {' | '.join(names)} |\n|---|---|---|---|{'---|' * len(names)}")
    for name, runs in facts.items():
        whole = statistics.median(each["train"] for each in runs)
        epochs = statistics.median(each.get("phase train", each["train"]) for each in runs)
        cells = [f"{whole:.2f}", f"{epochs:.2f}", f"{count * given.epochs / epochs / 1e6:.1f}"]
        cells += [word_vectors.spread([each[key] for each in qualities[name]]) for key in names]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def train_lines(folder: Path, device: str, threads: int, seed: int, epochs: int) -> None:
    """One run of ours, in a process of its own: prints its facts."""
    from wildsage.algorithms.blazingtext import BlazingText
    from wildsage.algorithms.context import TrainingContext
    from wildsage.contract.channels import Channel

    values = {**DEFAULTS, "mode": "supervised", "buckets": str(BUCKETS), "vector_dim": "100", "word_ngrams": "2"}
    values |= {"seed": str(seed), "epochs": str(epochs), "device": device}
    parameters = BlazingText.hyperparameters.parse(values)
    for part in ("small", "train"):  # the first compiles
        report, base = Facts(), folder / "job"
        shutil.rmtree(base, ignore_errors=True)
        channels = {"train": Channel("train", folder / part)}
        begun = time.perf_counter()
        context = TrainingContext(parameters, channels, base, base / "points", report, Event(), threads=threads)
        model = BlazingText().train(context)
        seconds = time.perf_counter() - begun
    test = [line.split(" ", 1) for line in (folder / "test.txt").read_text().rstrip("\n").split("\n")]
    found = model.predict([text for _, text in test], [{}] * len(test))
    right = sum(answer["label"][0] == label for answer, (label, _) in zip(found, test, strict=True))
    facts = {name: report.facts[name] for name in ("words_per_second", "in_flight")}
    print(json.dumps({"seconds": seconds, "accuracy": 100 * right / len(test), **facts}))


def lines(given: argparse.Namespace, folder: Path) -> None:
    """The table of classification."""
    cores = os.cpu_count() or 1
    print(f"\nclassification, bigrams, dim 100, {given.epochs} epochs, {cores} cores\n")
    print("| set | | s, whole | million tokens/s | lines in flight | accuracy |\n|---|---|---|---|---|---|")
    for name in LINES:
        train, test = supervised_speed.read_set(name, DATA)
        for part, some in (("train", train), ("small", train[:1000])):
            (folder / part).mkdir(exist_ok=True)
            (folder / part / "train.txt").write_text("\n".join(some) + "\n")
        (folder / "test.txt").write_text("\n".join(test) + "\n")
        runs: dict[str, list[dict[str, float]]] = {"cuda": [], "cpu": [], "fasttext": []}
        settings = {**DEFAULTS, "vector_dim": "100", "word_ngrams": "2", "epochs": str(given.epochs)}
        for seed in range(given.rounds):
            for device in ("cuda", "cpu"):
                command = [sys.executable, "-m", "bench.gpu", "--run", str(folder), device, str(cores), str(seed)]
                done = subprocess.run([*command, str(given.epochs)], capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(f"{device} failed: {done.stderr[-2000:]}")
                runs[device].append(json.loads(done.stdout.splitlines()[-1]))
            peer = supervised_speed.run("theirs", folder, cores, seed, settings)
            runs["fasttext"].append({"seconds": peer.trained, "accuracy": peer.accuracy})
        tokens = sum(len(line.split()) for line in train) * given.epochs
        for who, found in runs.items():
            seconds = statistics.median(run["seconds"] for run in found)
            speed = statistics.median(run.get("words_per_second", tokens / seconds) for run in found)
            accuracy = word_vectors.spread([run["accuracy"] for run in found], 2)
            flight = found[0].get("in_flight") or cores
            print(f"| {name} | {who} | {seconds:.2f} | {speed / 1e6:.1f} | {flight} | {accuracy} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gensim", metavar="PYTHON", help="an interpreter that has gensim; without it, it is left out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=0.05)
    parser.add_argument("--skip", default="")
    given = parser.parse_args()
    name = gpu()
    if name is None:
        raise SystemExit(
            "there is no GPU here, or no numba-cuda to use it with (pip install 'wildsage[gpu]'): nothing is measured"
        )
    print(f"{name}; {describe('numba-cuda', 'fasttext-numpy2')}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for table in (words, lines):
            if table.__name__ not in given.skip.split(","):
                table(given, Path(folder))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        where, device, threads, seed, epochs = sys.argv[2:]
        train_lines(Path(where), device, int(threads), int(seed), int(epochs))
    else:
        main()
