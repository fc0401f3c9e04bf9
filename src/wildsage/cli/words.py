"""Commands around the models themselves: words, and model quantize."""

from __future__ import annotations

import json as jsonlib
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from wildsage.cli import clients, names, serving, show
from wildsage.cli.training import Json
from wildsage.contract.errors import ClientError

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A job, a model, a folder, a model.tar.gz, or a file of vectors.",
        autocompletion=names.model_or_job,
    ),
]


class Action(StrEnum):
    NEAREST = "nearest"
    ANALOGY = "analogy"
    VECTOR = "vector"
    EXPORT = "export"


WANTED = {
    Action.NEAREST: (1, "one word"),
    Action.ANALOGY: (3, "three words, A B C, for: A is to B as C is to …"),
    Action.VECTOR: (None, "one word or more"),
    Action.EXPORT: (1, "one file, which ends in .txt, .vec, .bin or .safetensors"),
}


def words(
    model: Model,
    action: Annotated[Action, typer.Argument(metavar="nearest|analogy|vector|export", help="What to ask.")],
    arguments: Annotated[list[str], typer.Argument(metavar="WORD", help="The words; for export, the file to write.")],
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", help="How many words to show.", min=1)] = 10,
    json: Json = False,
) -> None:
    """Ask word vectors for near words, analogies or the vectors, or write them in another format.

    nearest shows the words of the highest cosine; analogy A B C those that are to
    C as B is to A. A word that training never saw has a vector if the model has
    subwords. export writes word2vec's text (.txt, .vec) or binary (.bin), or
    safetensors, by the file's ending.

    Examples:

    \b
      wildsage words JOB nearest king
      wildsage words vectors.txt analogy man king woman --count 3
      wildsage words JOB vector king queen --json
      wildsage words JOB export vectors.safetensors
    """
    wanted, described = WANTED[action]
    if wanted is not None and len(arguments) != wanted:
        raise typer.BadParameter(f"{action} takes {described}")
    asked = [str(action), *(["--count", str(count)] if action in (Action.NEAREST, Action.ANALOGY) else []), "--"]
    found = _run("words", ["--model", str(_open(model)), *asked, *arguments])
    if json:
        show.as_json(found)
    elif action is Action.VECTOR:
        for each in found:
            show.line(" ".join([each["word"], *(f"{value:.6g}" for value in each["vector"])]))
    elif action is Action.EXPORT:
        show.line(f"{found['words']:,} vectors of {found['dim']} columns are in {found['file']}")
    else:
        rows = [(each["word"], f"{each['cosine']:.4f}") for each in found]
        show.table(("Word", "Cosine"), rows, empty="There are no other words.")


def quantize(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write; it must end in .ftz.")
    ] = Path("model.ftz"),
    cutoff: Annotated[
        int, typer.Option(metavar="N", help="So many words and n-grams stay, those that count most; 0: all.", min=0)
    ] = 100_000,
    dsub: Annotated[int, typer.Option(metavar="N", help="So many columns share a byte.", min=1)] = 2,
    qout: Annotated[bool, typer.Option("--qout", help="Make the labels' rows small, too; pays with many.")] = False,
    json: Json = False,
) -> None:
    """Make a trained model small: prune what hardly counts, and keep the rest as codes (FastText.zip).

    A text classifier with n-grams becomes many times smaller, for a little
    accuracy. The file answers here and in the fastText package.

    Examples:

    \b
      wildsage model quantize JOB --output small.ftz
      wildsage model quantize model.bin --cutoff 50000 --output small.ftz
    """
    settings = ["--cutoff", str(cutoff), "--dsub", str(dsub), *(["--qout"] if qout else [])]
    found = _run("quantize", ["--model", str(_open(model)), "--output", str(output.absolute()), *settings])
    if json:
        show.as_json(found)
        return
    show.line(
        f"{output} has {found['bytes'] / 1e6:.1f} MB: {found['words']:,} words and {found['ngrams']:,} n-grams, "
        f"{found['times_smaller']:g} times smaller"
    )


def _open(model: str) -> Path:
    """The folder or file that a name means."""
    from wildsage.platform.archives import is_archive

    path = Path(model)
    if path.is_dir() or (path.is_file() and not is_archive(path)):
        return path.absolute()
    return serving.open_model(clients.platform(), model)


def _run(program: str, arguments: list[str]) -> Any:
    """The answer of one of the runtime's programs, which loads what this process must not: the numeric libraries."""
    command = [sys.executable, "-m", f"wildsage.runtime.{program}", *arguments]
    answer = subprocess.run(command, capture_output=True, check=False)
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip()
        raise ClientError(said.removeprefix("ClientError: ") or f"{program} gave no answer")
    return jsonlib.loads(answer.stdout)
