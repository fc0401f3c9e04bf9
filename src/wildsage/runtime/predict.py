"""Answer one request without a server: `python -m wildsage.runtime.predict --model DIR`, body in, answer out."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from wildsage.contract.errors import ClientError
from wildsage.contract.failure import failure_text
from wildsage.runtime import blas, loader
from wildsage.runtime.forms import form_of

USERS_FAULT, OUR_FAULT = 1, 2


def answer(folder: Path, algorithm: str | None, body: bytes, content_type: str, accept: str) -> bytes:
    """Load the model in `folder` and answer one body. Raises ClientError for what the caller can put right."""
    found = loader.find(folder, algorithm)
    form = form_of(loader.load(found, folder))
    request = form.read(body, content_type, accept)
    return form.join(request, [form.part(request, 0, len(request))])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="wildsage.runtime.predict", description="Answer the request on stdin.")
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--algorithm", help="its name; found out from the model's files if left out")
    parser.add_argument("--content-type", default="", help="of the body; found out from the body if left out")
    parser.add_argument("--accept", default="", help="type of the answer, where it can be chosen")
    options = parser.parse_args(arguments)
    blas.prepare()
    try:
        body = sys.stdin.buffer.read()
        out = answer(options.model, options.algorithm, body, options.content_type, options.accept)
    except Exception as error:  # noqa: BLE001 (the outermost try: an error becomes an exit code)
        if isinstance(error, ClientError):
            sys.stderr.write(f"{failure_text(error)}\n")
            return USERS_FAULT
        traceback.print_exception(error)
        sys.stderr.write(f"{failure_text(error)}\n")
        return OUR_FAULT
    sys.stdout.buffer.write(out)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
