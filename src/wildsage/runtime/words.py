"""Ask word vectors: `python -m wildsage.runtime.words --model DIR|FILE nearest WORD`, and the like; the answer is JSON.

nearest WORD, analogy A B C (A is to B as C is to …), vector WORD …, export FILE (.txt, .vec, .bin, .safetensors).
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wildsage.contract.errors import ClientError
from wildsage.contract.failure import failure_text

USERS_FAULT, OUR_FAULT = 1, 2
COUNT = 10


def answer(model: Path, action: str, arguments: Sequence[str], count: int) -> Any:
    """What JSON can hold. Raises ClientError for what the caller can put right."""
    from wildsage.algorithms.blazingtext.model import TextClassifier
    from wildsage.algorithms.blazingtext.word_model import WordVectors

    if not model.exists():
        raise ClientError(f"there is no model {model}")
    if model.is_dir() and TextClassifier.recognises(model):
        raise ClientError("a text classifier, not word vectors; `wildsage predict` asks it")
    vectors = WordVectors.load(model) if model.is_dir() else WordVectors.read(model)
    if action == "vector":
        return vectors.predict(arguments, [{}] * len(arguments))
    if action == "export":
        target = Path(arguments[0])
        vectors.export(target)
        return {"file": str(target), "words": len(vectors.words), "dim": vectors.dim, "bytes": target.stat().st_size}
    if action == "nearest":
        found = vectors.nearest(arguments[0], count)
    else:
        a, b, c = arguments
        found = vectors.analogy(a, b, c, count)
    return [{"word": word, "cosine": cosine} for word, cosine in found]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="wildsage.runtime.words", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model, or a file of vectors")
    actions = parser.add_subparsers(dest="action", required=True)
    for name, count in (("nearest", 1), ("analogy", 3)):
        action = actions.add_parser(name)
        action.add_argument("arguments", metavar="WORD", nargs=count)
        action.add_argument("--count", type=_positive, default=COUNT, help="how many words")
    actions.add_parser("vector").add_argument("arguments", metavar="WORD", nargs="+")
    actions.add_parser("export").add_argument("arguments", metavar="FILE", nargs=1)
    options = parser.parse_args(arguments)
    try:
        found = answer(options.model, options.action, options.arguments, getattr(options, "count", COUNT))
    except Exception as error:  # noqa: BLE001 (the outermost try: an error becomes an exit code)
        if not isinstance(error, ClientError):
            traceback.print_exception(error)
        sys.stderr.write(f"{failure_text(error)}\n")
        return USERS_FAULT if isinstance(error, ClientError) else OUR_FAULT
    sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    return 0


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: an integer, 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
