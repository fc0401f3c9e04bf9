"""Make a model small: `python -m wildsage.runtime.quantize --model DIR|FILE --output FILE.ftz`; says in JSON how small.

What it writes, the fastText package loads too.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wildsage.contract.errors import ClientError, DataError
from wildsage.contract.failure import failure_text

USERS_FAULT, OUR_FAULT = 1, 2
CUTOFF = 100_000  # about 6 MB at 100 columns


def run(model: Path, output: Path, **settings: Any) -> dict[str, Any]:
    """Quantise the model in a folder, or in a file, into `output`. Raises ClientError for what the caller can right."""
    from wildsage.algorithms.blazingtext import fasttext_file, quantize, word_model
    from wildsage.algorithms.blazingtext import model as classifier

    if not model.exists():
        raise ClientError(f"there is no model {model}")
    if output.suffix != ".ftz":
        raise ClientError(f"{output.name}: the ending must be .ftz, by which a quantised model is known")
    path = (classifier.find_file(model) or word_model.find_file(model)) if model.is_dir() else model
    if path is None or not fasttext_file.has_magic(path):
        raise DataError("no model in fastText's format, such as model.bin", file=model)
    file = fasttext_file.read(path)
    small = quantize.quantize(file, **settings)
    output.parent.mkdir(parents=True, exist_ok=True)
    fasttext_file.write(output, small)
    before, after = path.stat().st_size, output.stat().st_size
    return {
        "file": str(output),
        "bytes": after,
        "bytes_before": before,
        "times_smaller": round(before / after, 1),
        "words": small.word_rows.shape[0],
        "ngrams": small.bucket_rows.shape[0],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="wildsage.runtime.quantize", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model, or its .bin")
    parser.add_argument("--output", type=Path, required=True, help="the .ftz to write")
    parser.add_argument("--cutoff", type=int, default=CUTOFF, help="words and n-grams to keep; 0: all")
    parser.add_argument("--dsub", type=int, default=2, help="columns that share a byte")
    parser.add_argument("--no-qnorm", dest="qnorm", action="store_false", help="do not quantise norms apart")
    parser.add_argument("--qout", action="store_true", help="quantise the labels' rows, too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        found = run(**vars(options))
    except Exception as error:  # noqa: BLE001 (the outermost try: an error becomes an exit code)
        if not isinstance(error, ClientError):
            traceback.print_exception(error)
        sys.stderr.write(f"{failure_text(error)}\n")
        return USERS_FAULT if isinstance(error, ClientError) else OUR_FAULT
    sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
