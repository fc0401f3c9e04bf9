"""Claim: vocabulary and encoding, 5 times as fast as fastText counts alone and 20 times as fast as gensim.

    python -m bench.vocabulary --gensim PYTHON [--rounds 5]

Ours reads the text, counts, numbers every word and sorts the vocabulary; fastText's time is that of its count and its
tables of one column without an epoch, gensim's that of `build_vocab` of a corpus_file. A process each, in turn, on one
thread, the text in the page cache; MB/s by wall and by processor time, and the ratio of a round's processor times. The
text lies in WILDSAGE_DATA, or in ../shared/data beside the checkout. See bench/word_vectors.py for PYTHON.
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import sys
import tempfile
from pathlib import Path

from bench.machine import describe
from bench.word_vectors import DATA, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gensim", metavar="PYTHON", help="an interpreter that has gensim")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    pythons = {"ours": sys.executable, "fasttext": sys.executable}
    if given.gensim:
        pythons["gensim"] = given.gensim
    print(describe("fasttext-numpy2"), flush=True)
    with tempfile.TemporaryDirectory() as name:
        text = Path(name) / "corpus.txt"
        with gzip.open(DATA / "corpus-en" / "corpus.txt.gz") as packed, text.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        count(text, pythons, given.rounds, Path(name))


if __name__ == "__main__":
    main()
