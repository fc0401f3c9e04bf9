"""`python -m wildsage.runtime.describe NAME`: an algorithm's own description, as JSON on standard output."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from wildsage.algorithms.registry import get
from wildsage.contract.errors import WildsageError
from wildsage.contract.failure import EXIT_FAILURE, EXIT_OK, failure_text

if TYPE_CHECKING:
    from collections.abc import Sequence


def describe(name: str) -> dict[str, Any]:
    """Hyperparameters, channels and request types of an installed algorithm, built in or not."""
    algorithm = get(name)
    return {
        "name": algorithm.name,
        "required_channels": list(algorithm.required_channels),
        "optional_channels": list(algorithm.optional_channels),
        "request_types": list(algorithm.model.request_types),
        "hyperparameters": [
            {**fact.to_json(), "allowed": fact.allowed()} for fact in algorithm.hyperparameters.describe()
        ],
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m wildsage.runtime.describe", description=__doc__)
    parser.add_argument("name", help="an algorithm's name or alias")
    arguments = parser.parse_args(argv)
    try:
        answer = describe(arguments.name)
    except WildsageError as error:
        sys.stderr.write(failure_text(error) + "\n")
        return EXIT_FAILURE
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
