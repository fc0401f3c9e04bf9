"""Quantised text classifiers: how small, how exact, how fast to make and to ask; beside the fastText package's own.

    python -m bench.quantize [seeds=3] [cutoffs=200000,100000,50000,20000] [sets=sst2,…] [NAME=VALUE ...]

Other NAMEs are hyperparameters of the trained model. The same trained model is quantised by us and by the package, with
the same cutoff, parts of two columns and norms apart, without training on afterwards. "Smaller" is of bytes of the
file; "on disk" counts the blocks that the .bin takes, which leaves out n-grams that were never seen. Accuracy is on
held-out lines, in percent, the mean over seeds; "points" what quantising costs of it. "us": of an answer to one text.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import describe
from bench.supervised_quality import BUCKETS, DEFAULTS, SETS

CHOSEN = ("sst2", "tweeteval-emoji", "womens-clothing-reviews")
ASKED = 500  # texts that are timed


def train(folder: Path, seed: int, settings: dict[str, str]) -> Any:
    from wildsage.algorithms.blazingtext import BlazingText
    from wildsage.algorithms.context import Silence, TrainingContext
    from wildsage.contract.channels import Channel

    values = {"mode": "supervised", "seed": str(seed), "buckets": str(BUCKETS), **settings}
    channels = {"train": Channel("train", folder / "train")}
    parameters = BlazingText.hyperparameters.parse(values)
    return BlazingText().train(
        TrainingContext(parameters, channels, folder / "output", folder / f"checkpoints{seed}", Silence())
    )


def accuracy(model: Any, test: list[list[str]]) -> float:
    """In percent; the package's answers have another shape."""
    texts = [text for _, text in test]
    if hasattr(model, "get_labels"):
        found = [labels[0] for labels in model.predict(texts)[0]]
    else:
        found = [answer["label"][0] for answer in model.predict(texts, [{}] * len(texts))]
    return 100 * statistics.mean(a == b for a, (b, _) in zip(found, test, strict=True))


def microseconds(model: Any, test: list[list[str]]) -> float:
    """Of an answer to one text, the median."""
    taken = []
    for _, text in (test * 2)[:ASKED]:
        begun = time.perf_counter()
        model.predict([text], [{}])
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken) * 1e6


def main(arguments: list[str]) -> None:
    import fasttext

    from wildsage.algorithms.blazingtext import BlazingText, fasttext_file
    from wildsage.algorithms.blazingtext.model import TextClassifier
    from wildsage.algorithms.blazingtext.quantize import quantize

    given = dict(argument.split("=", 1) for argument in arguments)
    seeds = int(given.pop("seeds", "3"))
    cutoffs = [int(text) for text in given.pop("cutoffs", "200000,100000,50000,20000").split(",")]
    names = given.pop("sets", ",".join(CHOSEN)).split(",")
    settings = {**DEFAULTS, **given}
    data = Path(os.environ.get("WILDSAGE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    BlazingText.warm_up()
    print(describe("fasttext-numpy2"))
    print(f"{settings}, {BUCKETS:,} buckets, {seeds} seeds")
    head = "set|.bin, MB|on disk|cutoff|.ftz, MB|smaller|of disk|accuracy|points|points, fastText|s|s, fastText|us"
    print(f"| {' | '.join(head.split('|'))} |\n{'|---' * 13}|", flush=True)
    for name in names:
        lines, held_out = SETS[name](data / name)
        test = [line.split(" ", 1) for line in held_out]
        rows: dict[int, list[tuple[float, ...]]] = {cutoff: [] for cutoff in cutoffs}
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "train").mkdir()
            (folder / "train" / "train.txt").write_text("\n".join(lines) + "\n")
            for seed in range(seeds):
                whole = train(folder, seed, settings)
                whole.save(folder)
                before, status = accuracy(whole, test), (folder / "model.bin").stat()
                for cutoff in cutoffs:
                    begun = time.perf_counter()
                    fasttext_file.write(folder / "ours.ftz", quantize(whole.file, cutoff=cutoff, seed=seed))
                    seconds = time.perf_counter() - begun
                    small = TextClassifier(fasttext_file.read(folder / "ours.ftz"))
                    after = accuracy(small, test)
                    assert accuracy(fasttext.load_model(str(folder / "ours.ftz")), test) == after
                    theirs = fasttext.load_model(str(folder / "model.bin"))
                    begun = time.perf_counter()
                    theirs.quantize(cutoff=cutoff, qnorm=True, dsub=2, retrain=False)
                    theirs.save_model(str(folder / "theirs.ftz"))
                    their_seconds = time.perf_counter() - begun
                    size = (folder / "ours.ftz").stat().st_size
                    rows[cutoff].append(
                        (
                            *(status.st_size / 1e6, status.st_blocks * 512 / 1e6, size / 1e6, before, after),
                            *(accuracy(theirs, test), seconds, their_seconds, microseconds(small, test)),
                        )
                    )
        for cutoff, runs in rows.items():
            size, disk, left, before, after, their_after, seconds, their_seconds, asked = (
                statistics.mean(column) for column in zip(*runs, strict=True)
            )
            print(
                f"| {name} | {size:.0f} | {disk:.0f} | {cutoff:,} | {left:.2f} | {size / left:.0f} | {disk / left:.0f} "
                f"| {after:.2f} | {after - before:+.2f} | {their_after - before:+.2f} "
                f"| {seconds:.1f} | {their_seconds:.1f} | {asked:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
