"""`wildsage plot`: pictures of a job, and of what its model answers."""

from __future__ import annotations

import json as jsonlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wildsage.cli import clients, names, serving, show
from wildsage.cli.training import Json
from wildsage.contract.errors import ClientError, nearest

if TYPE_CHECKING:
    from wildsage.contract.pictures import Picture


def plot(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A training job.", autocompletion=names.job)],
    wanted: Annotated[
        list[str] | None,
        typer.Argument(metavar="PICTURE", help="Which pictures; see --list.", show_default="all that there are"),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the PNG files go.", show_default="here")
    ] = Path(),
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw what the job's model answers to these rows.", show_default=False),
    ] = None,
    content_type: Annotated[str, typer.Option(metavar="TYPE", help="Of the rows in --data.")] = "text/csv",
    dpi: Annotated[int, typer.Option(metavar="N", help="Dots per inch.", min=20, max=1200)] = 120,
    listed: Annotated[bool, typer.Option("--list", help="Only say which pictures there are.")] = False,
    json: Json = False,
) -> None:
    """Draw pictures of a job: learning curves, and what its algorithm has to show.

    That is explained variance (pca), clusters (kmeans), feature importance
    (xgboost), anomaly scores (randomcutforest), confusion (classification). A
    picture is JOB-PICTURE.png. Needs the extra plot: pip install "wildsage[plot]".

    With --data the model answers the rows of a file, and each number of the
    answers is drawn in the order of the rows, such as anomaly scores over time;
    projections are drawn as points on the two largest components.

    Examples:

    \b
      wildsage plot JOB
      wildsage plot JOB learning-curves --output pictures
      wildsage plot JOB --data new.csv
    """
    platform = clients.platform()
    pictures = platform.training_pictures(job)
    if data is not None:
        pictures += _answered(serving.open_model(platform, job), data, content_type)
    named = {picture.name: picture for picture in pictures}
    for name in wanted or ():
        if name not in named:
            there = ", ".join(named) or "none"
            raise ClientError(f'job {job} has no picture "{name}"{nearest(name, named)}; there are: {there}')
    chosen = [named[name] for name in wanted] if wanted else pictures
    if not chosen:
        raise ClientError(f"job {job} has no pictures: it reported no curve, and its algorithm left none")
    files = {picture.name: str(output / f"{job}-{picture.name}.png") for picture in chosen}
    if not listed:
        from wildsage import plots

        for picture in chosen:
            plots.save(picture, Path(files[picture.name]), dpi)
    if json:
        titles = [{"name": each.name, "title": each.title} for each in chosen]
        show.as_json([each if listed else each | {"file": files[each["name"]]} for each in titles])
    elif listed:
        show.table(("Picture", "Title"), [(each.name, each.title) for each in chosen], empty="none")
    else:
        for file in files.values():
            show.line(file)


def _answered(model: Path, file: Path, content_type: str) -> list[Picture]:
    """What a model answers to the rows of a file. Raises ClientError where it has no answer, or none to be drawn."""
    try:
        body = file.read_bytes()
    except OSError as error:
        raise ClientError(f"{file}: {error.strerror}") from error
    command = [sys.executable, "-m", "wildsage.runtime.predict", "--model", str(model)]
    command += ["--content-type", content_type, "--accept", "application/jsonlines"]
    answer = subprocess.run(command, input=body, capture_output=True, check=False)
    if answer.returncode != 0:
        said = answer.stderr.decode("utf-8", "replace").strip()
        raise ClientError(said.removeprefix("ClientError: ") or f"the model gave no answer to {file}")
    answers = [jsonlib.loads(line) for line in answer.stdout.splitlines() if line.strip()]
    pictures = pictures_of(answers)
    if not pictures:
        raise ClientError(f"the answers to {file} have no numbers that could be drawn")
    return pictures


def pictures_of(answers: list[Any]) -> list[Picture]:
    """Pictures of decoded answers: a panel for each number that all of them have; points for those of lists."""
    from wildsage.contract.pictures import Panel, Picture, Series, scores

    rows = [answer for answer in answers if isinstance(answer, dict)]
    if not rows or len(rows) < len(answers):
        return []
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in rows[0]}
    single = {
        name: [float(value) for value in values]
        for name, values in columns.items()
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    }
    pictures = [scores(single, "Answers to the rows of a file", "answers")] if single else []
    for name, values in columns.items():
        if all(isinstance(value, list) and len(value) >= 2 for value in values):
            # The contract's order is ascending: the largest components are the last.
            series = Series(name, [float(value[-1]) for value in values], [float(value[-2]) for value in values])
            panel = Panel("points", "", "largest component", "second largest", series=[series])
            pictures.append(Picture(f"{name}s".lower(), f"{name.capitalize()}s", [panel]))
    return pictures
