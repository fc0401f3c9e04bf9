"""A picture of how skip-gram's and CBOW's speed depends on sizes: words/s against each, all else as it is by default.

    python -m bench.growth [--share 0.1] [--rounds 2] [--out docs/pictures/word-vectors-growth.png]

The picture needs matplotlib: pip install matplotlib. One thread; speeds are tokens of the text over the processor time
of one epoch, the best of the rounds, without reading the text: see roofline.py, whose text and settings these are.
--share: of the corpus, where its size is not what changes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from bench.machine import describe
from bench.roofline import ROOT, train_words, write_texts

DEFAULT_DIM = 100
SIZES: dict[str, tuple[str, list[int]]] = {
    "vector_dim": ("dimensions", [16, 50, 100, 200, 300, 500]),
    "window_size": ("window", [1, 2, 5, 10, 20]),
    "negative_samples": ("negatives", [1, 2, 5, 10, 20]),
    "min_count": ("words in the vocabulary", [500, 100, 20, 5, 1]),
    "share": ("tokens of text, millions", [1, 2, 4, 8]),
}
MODES = ("skipgram", "cbow")


def measure(folder: Path, rounds: int, share: float) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """For each of SIZES and each mode: (size, million words/s)."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    texts = {}
    for number in SIZES["share"][1]:
        texts[number] = folder / str(number)
        texts[number].mkdir()
        write_texts(texts[number], share * number)
    for name, (title, sizes) in SIZES.items():
        for mode in MODES:
            points = found.setdefault(name, {}).setdefault(mode, [])
            for size in sizes:
                values: dict[str, Any] = {"vector_dim": DEFAULT_DIM}
                values |= {} if name == "share" else {name: size}
                text = texts[size if name == "share" else 1] / "words"
                work = train_words(text, rounds, mode=mode, **values)
                place = {"share": work.tokens / 1e6, "min_count": work.vocabulary}.get(name, size)
                points.append((place, work.tokens / work.seconds / 1e6))
            print(title, mode, *(f"{place:g}: {speed:.2f}" for place, speed in points), flush=True)
    return found


def draw(found: dict[str, dict[str, list[tuple[float, float]]]], out: Path, share: float) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, frames = pyplot.subplots(1, len(found), figsize=(15, 3.4), sharey=True, layout="constrained")
    for frame, (name, curves) in zip(frames, found.items(), strict=True):
        for mode, points in curves.items():
            frame.plot(*zip(*points, strict=True), marker="o", markersize=4, label=mode)
        frame.set_xlabel(SIZES[name][0])
        frame.grid(alpha=0.3)
        if name == "min_count":
            frame.set_xscale("log")
    frames[0].set_ylabel("million words/s")
    frames[0].set_ylim(bottom=0)  # of all, once all curves are there
    frames[0].legend()
    figure.suptitle(
        f"Word vectors on one thread; where not named: dim {DEFAULT_DIM}, window 5, 5 negatives, min_count 5, "
        f"{share:.0%} of the corpus",
        fontsize=10,
    )
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "word-vectors-growth.png")
    given = parser.parse_args()
    print(describe("matplotlib"), flush=True)
    with tempfile.TemporaryDirectory() as name:
        draw(measure(Path(name), given.rounds, given.share), given.out, given.share)


if __name__ == "__main__":
    main()
