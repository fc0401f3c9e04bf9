"""Text classification beside fastText: accuracy and seconds at equal hyperparameters, on five sets and five seeds.

    python -m bench.supervised_quality [threads=1,2] [seeds=5] [sets=trec,sst2] [NAME=VALUE ...]

Other NAMEs are hyperparameters of both; the defaults are below. The sets lie in WILDSAGE_DATA, or in ../shared/data
beside the checkout. Seconds are wall time from the text file to a trained model in memory, kernels loaded, files in the
page cache, ours and fastText in turn; ratios are of pairs of runs. Accuracy is on held-out lines, in percent.
Our time has checkpoints and the accuracy on the training text in it, which fastText does not compute.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from threading import Event

from bench.machine import describe

DEFAULTS = {"vector_dim": "100", "word_ngrams": "2", "epochs": "5", "learning_rate": "0.5", "min_count": "1"}
BUCKETS = 2_000_000


def load(file: Path) -> list[str]:
    data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return data.decode().rstrip("\n").split("\n")


def bare(line: str) -> str:
    """Without the quotes around the text, which our reader strips and fastText would take for parts of words."""
    label, text = line.split(" ", 1)
    return f"{label} {text[1:-1]}" if text[:1] == text[-1:] == '"' and not text[1:2].isspace() else line


def womens_clothing_reviews(folder: Path) -> tuple[list[str], list[str]]:
    train, test = (load(folder / f"blazingtext_{name}.txt.gz") for name in ("train", "validation"))
    return [bare(line) for line in train], [bare(line) for line in test]


def rt_polarity(folder: Path) -> tuple[list[str], list[str]]:
    lines = load(folder / "rt-polarity.txt.gz")
    random.Random(0).shuffle(lines)
    return lines[:-1066], lines[-1066:]


def sst2(folder: Path) -> tuple[list[str], list[str]]:
    return load(folder / "train.txt.gz"), load(folder / "test.txt")


def trec(folder: Path) -> tuple[list[str], list[str]]:
    def coarse(line: str) -> str:
        label, text = line.split(" ", 1)
        return f"{label.partition(':')[0]} {text}"

    train, test = ([coarse(line) for line in load(folder / f"{name}.txt")] for name in ("train", "test"))
    return train, test


def tweeteval_emoji(folder: Path) -> tuple[list[str], list[str]]:
    return load(folder / "train.txt.gz"), load(folder / "test.txt.gz")


SETS = {
    "womens-clothing-reviews": womens_clothing_reviews,
    "rt-polarity": rt_polarity,
    "sst2": sst2,
    "trec": trec,
    "tweeteval-emoji": tweeteval_emoji,
}


def ours(folder: Path, test: list[str], threads: int, seed: int, settings: dict[str, str]) -> tuple[float, float]:
    """(seconds, accuracy)"""
    from wildsage.algorithms.blazingtext import BlazingText
    from wildsage.algorithms.context import Silence, TrainingContext
    from wildsage.contract.channels import Channel

    checkpoints = folder / "checkpoints"
    shutil.rmtree(checkpoints, ignore_errors=True)
    values = {"mode": "supervised", "seed": str(seed), "buckets": str(BUCKETS), **settings}
    context = TrainingContext(
        BlazingText.hyperparameters.parse(values),
        {"train": Channel("train", folder / "train")},
        folder / "output",
        checkpoints,
        Silence(),
        Event(),
        threads=threads,
    )
    begun = time.perf_counter()
    model = BlazingText().train(context)
    seconds = time.perf_counter() - begun
    answers = model.predict([line.split(" ", 1)[1] for line in test], [{} for _ in test])
    right = sum(answer["label"][0] == line.split(" ", 1)[0] for answer, line in zip(answers, test, strict=True))
    return seconds, 100 * right / len(test)


def fasttexts(folder: Path, test: list[str], threads: int, seed: int, settings: dict[str, str]) -> tuple[float, float]:
    """(seconds, accuracy)"""
    import fasttext

    begun = time.perf_counter()
    model = fasttext.train_supervised(
        str(folder / "train" / "train.txt"),
        dim=int(settings["vector_dim"]),
        wordNgrams=int(settings["word_ngrams"]),
        epoch=int(settings["epochs"]),
        lr=float(settings["learning_rate"]),
        minCount=int(settings["min_count"]),
        bucket=BUCKETS,
        thread=threads,
        seed=seed,
        verbose=0,
    )
    seconds = time.perf_counter() - begun
    found, _ = model.predict([line.split(" ", 1)[1] for line in test])
    right = sum(labels[0] == line.split(" ", 1)[0] for labels, line in zip(found, test, strict=True))
    return seconds, 100 * right / len(test)


def main(arguments: list[str]) -> None:
    given = dict(argument.split("=", 1) for argument in arguments)
    threads = [int(text) for text in given.pop("threads", "1,2").split(",")]
    seeds = int(given.pop("seeds", "5"))
    names = given.pop("sets", ",".join(SETS)).split(",")
    settings = {**DEFAULTS, **given}
    data = Path(os.environ.get("WILDSAGE_DATA") or Path(__file__).parents[2] / "shared" / "data")

    from wildsage.algorithms.blazingtext import BlazingText

    BlazingText.warm_up()
    print(describe("fasttext-numpy2"))
    print(f"{settings}, {seeds} seeds; accuracy in % with its spread over seeds, median seconds")
    print("| set | train lines | threads | accuracy, ours | fastText | difference | s, ours | s, fastText | ratio |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name in names:
        train, test = SETS[name](data / name)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "train").mkdir()
            (folder / "train" / "train.txt").write_text("\n".join(train) + "\n")
            for count in threads:
                runs = [
                    (ours(folder, test, count, seed, settings), fasttexts(folder, test, count, seed, settings))
                    for seed in range(seeds)
                ]
                mine, theirs = ([run[side] for run in runs] for side in (0, 1))
                accuracies = [[accuracy for _, accuracy in side] for side in (mine, theirs)]
                seconds = [statistics.median(second for second, _ in side) for side in (mine, theirs)]
                ratios = [b[0] / a[0] for a, b in runs]
                told = [f"{statistics.mean(side):.2f} ± {statistics.pstdev(side):.2f}" for side in accuracies]
                difference = statistics.mean(accuracies[0]) - statistics.mean(accuracies[1])
                print(
                    f"| {name} | {len(train):,} | {count} | {told[0]} | {told[1]} | {difference:+.2f} "
                    f"| {seconds[0]:.2f} | {seconds[1]:.2f} | {min(ratios):.1f}-{max(ratios):.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
