"""Text classification beside fastText: seconds to a trained model and to a saved .bin, and memory.

    python -m bench.supervised_speed [threads=1,2] [rounds=5] [sets=emoji,sst2,documents] [shapes=100:2,100:1,10:2]
                                     [storage=auto] [NAME=VALUE ...]

shapes are vector_dim:word_ngrams; other NAMEs are hyperparameters of both. Each run is in a process of its own, ours
and fastText in turn, with kernels loaded and files in the page cache: from the text file to a trained model in memory,
and on to the saved .bin. Ratios are of pairs of runs: the median, the lowest and the highest; by the wall clock, and by
processor time, which says more on a busy machine. Memory is the process's peak; ours has Numba and its compiler in it.
`documents` is made: running text in documents of about 240 words, their labels by a seeded rule with noise.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from bench.machine import describe
from bench.supervised_quality import BUCKETS, DEFAULTS, SETS, load

NAMES = {"emoji": "tweeteval-emoji"}
DOCUMENTS, HELD_OUT, WORDS_OF_DOCUMENT, CLASSES = 25_000, 2_000, 240, 4


def documents(folder: Path) -> tuple[list[str], list[str]]:
    """Documents of running text; words have seeded weights for each class, the heaviest class is the label."""
    rng = random.Random(0)
    pieces: list[list[str]] = [[]]
    for line in load(folder / "corpus.txt.gz"):
        pieces[-1] += line.split()
        if len(pieces[-1]) >= WORDS_OF_DOCUMENT:
            pieces.append([])
    rng.shuffle(pieces)
    weights: dict[str, list[float]] = {}
    made = []
    for words in pieces[: DOCUMENTS + HELD_OUT]:
        sums = [rng.gauss(0, 1) for _ in range(CLASSES)]
        for word in words:
            if word not in weights:
                weights[word] = [rng.gauss(0, 0.4) for _ in range(CLASSES)] if len(word) > 4 else [0.0] * CLASSES
            sums = [total + weight for total, weight in zip(sums, weights[word], strict=True)]
        made.append(f"__label__{max(range(CLASSES), key=sums.__getitem__)} {' '.join(words)}")
    return made[HELD_OUT:], made[:HELD_OUT]


def read_set(name: str, data: Path) -> tuple[list[str], list[str]]:
    if name == "documents":
        return documents(data / "corpus-en")
    known = NAMES.get(name, name)
    return SETS[known](data / known)


@dataclass(frozen=True)
class Run:
    """One training: seconds on the wall and of the processor to the model, and to its file; accuracy; peak memory."""

    trained: float
    saved: float
    busy_trained: float
    busy_saved: float
    accuracy: float
    peak_mb: float


class Watch:
    def __init__(self) -> None:
        self.wall, self.busy = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self.wall, time.process_time() - self.busy


def ours(folder: Path, train: str, threads: int, seed: int, settings: dict[str, str]) -> tuple[Any, ...]:
    from wildsage.algorithms.blazingtext import BlazingText
    from wildsage.algorithms.context import Silence, TrainingContext
    from wildsage.contract.channels import Channel

    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        job = Path(temporary)
        (job / "model").mkdir()
        values = {"mode": "supervised", "seed": str(seed), "buckets": str(BUCKETS), **settings}
        parameters = BlazingText.hyperparameters.parse(values)
        channels = {"train": Channel("train", folder / train)}
        context = TrainingContext(
            parameters, channels, job / "output", job / "checkpoints", Silence(), Event(), threads=threads
        )
        watch = Watch()
        model = BlazingText().train(context)
        trained = watch.read()
        model.save(job / "model")
        return (
            trained,
            watch.read(),
            lambda texts: [answer["label"] for answer in model.predict(texts, [{}] * len(texts))],
        )


def theirs(folder: Path, train: str, threads: int, seed: int, settings: dict[str, str]) -> tuple[Any, ...]:
    import fasttext

    watch = Watch()
    model = fasttext.train_supervised(
        str(folder / train / "train.txt"),
        dim=int(settings["vector_dim"]),
        wordNgrams=int(settings["word_ngrams"]),
        epoch=int(settings["epochs"]),
        lr=float(settings["learning_rate"]),
        minCount=int(settings["min_count"]),
        loss=settings.get("loss", "softmax"),
        bucket=BUCKETS,
        thread=threads,
        seed=seed,
        verbose=0,
    )
    trained = watch.read()
    file = folder / "theirs.bin"
    model.save_model(str(file))
    saved = watch.read()
    file.unlink()
    return trained, saved, lambda texts: model.predict(texts)[0]


SIDES = {"ours": ours, "theirs": theirs}


def run(side: str, folder: Path, threads: int, seed: int, settings: dict[str, str]) -> Run:
    """Train in a process of its own, so that neither side finds memory, or what was in it, of a run before."""
    arguments = [f"{key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "bench.supervised_speed", "--run", side, str(folder), str(threads), str(seed)]
    os.sync()  # what the run before wrote would be on its way to the disk meanwhile
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed: {done.stderr[-500:]}")
    return Run(*json.loads(done.stdout.splitlines()[-1]))


def run_here(side: str, folder: Path, threads: int, seed: int, settings: dict[str, str]) -> None:
    train = SIDES[side]
    if side == "ours":
        train(folder, "small", 1, 0, settings)  # loads kernels
    (trained, busy_trained), (saved, busy_saved), predict = train(folder, "train", threads, seed, settings)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))  # not inherited, as ru_maxrss is
    test = (folder / "test.txt").read_text().rstrip("\n").split("\n")
    found = predict([line.split(" ", 1)[1] for line in test])
    right = sum(labels[0] == line.split(" ", 1)[0] for labels, line in zip(found, test, strict=True))
    print(json.dumps([trained, saved, busy_trained, busy_saved, 100 * right / len(test), peak / 1024]))


def ratio(runs: dict[str, list[Run]], which: str) -> str:
    found = [getattr(b, which) / getattr(a, which) for a, b in zip(runs["ours"], runs["theirs"], strict=True)]
    return f"{statistics.median(found):.1f} ({min(found):.1f}-{max(found):.1f})"


def main(arguments: list[str]) -> None:
    given = dict(argument.split("=", 1) for argument in arguments)
    threads = [int(text) for text in given.pop("threads", "1,2").split(",")]
    rounds = int(given.pop("rounds", "5"))
    names = given.pop("sets", "emoji,sst2,documents").split(",")
    shapes = [shape.split(":") for shape in given.pop("shapes", "100:2,100:1,10:2").split(",")]
    data = Path(os.environ.get("WILDSAGE_DATA") or Path(__file__).parents[2] / "shared" / "data")

    print(describe("fasttext-numpy2"))
    print(f"{ {**DEFAULTS, **given} }, {rounds} rounds; medians; wall s to a model / to its file")
    print(
        "| set | dim, n-grams | threads | s, ours | fastText | ratio to model | ratio to file | processor, to model "
        "| to file | accuracy | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        train, test = read_set(name, data)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for part, lines in (("train", train), ("small", train[:1000])):
                (folder / part).mkdir()
                (folder / part / "train.txt").write_text("\n".join(lines) + "\n")
            (folder / "test.txt").write_text("\n".join(test) + "\n")
            for dim, ngrams in shapes:
                settings = {**DEFAULTS, **given, "vector_dim": dim, "word_ngrams": ngrams}
                for count in threads:
                    runs: dict[str, list[Run]] = {side: [] for side in SIDES}
                    for seed in range(rounds):
                        for side in SIDES:
                            runs[side].append(run(side, folder, count, seed, settings))
                    cells = [
                        " / ".join(
                            f"{statistics.median(getattr(one, which) for one in runs[side]):.2f}"
                            for which in ("trained", "saved")
                        )
                        for side in SIDES
                    ]
                    cells += [ratio(runs, which) for which in ("trained", "saved", "busy_trained", "busy_saved")]
                    cells.append(" / ".join(f"{statistics.mean(r.accuracy for r in runs[side]):.2f}" for side in SIDES))
                    peaks = [statistics.median(one.peak_mb for one in runs[side]) for side in SIDES]
                    cells.append(f"{peaks[0]:.0f} / {peaks[1]:.0f} = {peaks[0] / peaks[1]:.2f}")
                    print(f"| {name} | {dim}, {ngrams} | {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        side, folder, threads, seed, *rest = sys.argv[2:]
        run_here(side, Path(folder), int(threads), int(seed), dict(argument.split("=", 1) for argument in rest))
    else:
        main(sys.argv[1:])
