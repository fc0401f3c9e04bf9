"""fastText's .bin format, version 12: settings, dictionary, input and output rows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FastTextSettings:
    """The arguments block of a .bin, with fastText's own codes and our defaults for a supervised model.

    loss: 1 hierarchical softmax, 2 negative sampling, 3 softmax, 4 one-vs-all. model: 1 cbow, 2 skip-gram, 3 supervised.
    Source: facebookresearch/fastText, src/args.h and src/args.cc.
    """

    dim: int = 100
    ws: int = 5
    epoch: int = 5
    min_count: int = 1
    neg: int = 5
    word_ngrams: int = 1
    loss: int = 3
    model: int = 3
    bucket: int = 2_000_000
    minn: int = 0
    maxn: int = 0
    lr_update_rate: int = 100
    t: float = 1e-4
