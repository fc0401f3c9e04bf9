"""Commands around training: algorithms, train, jobs, logs, stop."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wildsage.cli import clients, names, show
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from wildsage.contract.builtins import BuiltIn, ChannelFact
    from wildsage.contract.hyperparameters import HyperparameterFact
    from wildsage.platform.service import Platform

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value on stdout, and nothing else there.")]
MODEL_CHANNELS = {"model", "pretrained_vectors"}
_STAMP = re.compile(r"^\[[^\]]* (?:DEBUG|INFO|WARNING|ERROR) [^\]]*\] ")


def algorithms(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Show this one in full.", autocompletion=names.algorithm, show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """List the algorithms, or show one: its channels, metrics and every hyperparameter.

    Examples:

    \b
      wildsage algorithms
      wildsage algorithms blazingtext
    """
    from dataclasses import asdict

    from wildsage.contract import builtins

    here = builtins.installed()
    if name is not None:
        from wildsage.platform.algorithms import facts_of

        built_in = facts_of(name)
        if json:
            show.as_json({**asdict(built_in), "available": built_in.name in here})
        else:
            _describe(built_in, available=built_in.name in here)
        return
    tasks = {each: list(builtins.table(each).tasks) for each in builtins.names()}
    listed = sorted({*tasks, *here}, key=lambda each: (each not in here, each))
    if json:
        show.as_json([{"name": each, "tasks": tasks.get(each, []), "available": each in here} for each in listed])
        return
    rows = [
        (each, "yes" if each in here else "no", ", ".join(tasks.get(each, ["of another package"])).replace("_", " "))
        for each in listed
    ]
    show.table(("Algorithm", "Here", "For"), rows, empty="none")


def train(
    algorithm: Annotated[
        str,
        typer.Argument(
            metavar="ALGORITHM", help="An algorithm's name; see `wildsage algorithms`.", autocompletion=names.algorithm
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=PATH|NAME=VALUE",
            help="Channels as NAME=PATH (a file, a folder, a URL), hyperparameters as NAME=VALUE.",
            show_default=False,
            autocompletion=names.argument,
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            "-c",
            metavar="NAME=PATH",
            help="A channel, whatever its name.",
            show_default=False,
            autocompletion=names.channel,
        ),
    ] = None,
    hyperparameter: Annotated[
        list[str] | None,
        typer.Option(
            "--hyperparameter",
            "-p",
            metavar="NAME=VALUE",
            help="A hyperparameter, whatever its name.",
            show_default=False,
            autocompletion=names.hyperparameter,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", "-n", metavar="NAME", help="The job's name.", show_default="the algorithm and the time"),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="Where the model goes.", show_default="artifacts of the home"
        ),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Keep checkpoints here; a job with the same data and hyperparameters goes on from them.",
            show_default=False,
        ),
    ] = None,
    max_run: Annotated[int, typer.Option(metavar="SECONDS", help="Stop the job after so long.", min=1)] = 86_400,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start the job and return at once.")] = False,
    json: Json = False,
) -> None:
    """Train a model.

    Shows the log while the job runs. The job does not depend on this command:
    after Ctrl-C, or with --detach, it goes on by itself, and `wildsage logs -f`
    follows it.

    The channels model and pretrained_vectors take a job's name, too. A name that
    is a channel and a hyperparameter (evaluation) is the latter if its value is
    true or false.

    Examples:

    \b
      wildsage train blazingtext train=train.txt mode=supervised
      wildsage train blazingtext train=train.txt validation=val.txt \\
          mode=supervised epochs=10 early_stopping=true --name reviews
      wildsage train xgboost train=train.csv validation=val.csv \\
          objective=binary:logistic num_round=100 --name churn
      wildsage train kmeans train=rows.csv k=10 --detach
      wildsage train blazingtext train=more.txt model=JOB mode=supervised
    """
    from wildsage.cli.arguments import channels_of, hyperparameters_of, required, sort_out, switches_of
    from wildsage.contract.hyperparameters import table_problems
    from wildsage.platform.algorithms import facts_of
    from wildsage.sdk.estimator import Estimator

    built_in = facts_of(algorithm)
    given = sort_out(
        arguments or [],
        channels=channels_of(built_in),
        hyperparameters=hyperparameters_of(built_in),
        switches=switches_of(built_in),
        forced_channels=channel or [],
        forced_hyperparameters=hyperparameter or [],
    )
    required(channels_of(built_in), given.channels)
    if problems := table_problems(given.hyperparameters, built_in.hyperparameters, built_in.name):
        raise ClientError("; ".join(problems))
    platform = clients.platform()
    estimator = Estimator(
        image_uri=built_in.name,
        instance_count=1,
        instance_type="local",
        output_path=output,
        checkpoint_s3_uri=checkpoints,
        max_run=max_run,
        sagemaker_session=clients.session(platform),
    )
    estimator.set_hyperparameters(**given.hyperparameters)
    estimator.fit(_models_found(platform, given.channels), wait=False, job_name=name)
    job = estimator.jobs[-1].name
    if detach:
        if json:
            show.as_json(platform.describe_training_job(TrainingJobName=job))
        else:
            show.line(job)
            show.say(f"Follow it with: {show.command()} logs -f {job}")
        return
    try:
        _watch(platform, job, quiet=json)
    except KeyboardInterrupt:
        show.say(
            f"The job goes on. See it with: {show.command()} logs -f {job}. End it with: {show.command()} stop {job}"
        )
        raise
    _report(platform, job, json=json)


def jobs(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this job in full.", autocompletion=names.job, show_default=False),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            help="Only those that are InProgress, Completed, Failed, Stopping or Stopped.", show_default=False
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many, the newest first; 0: all.", min=0)] = 20,
    json: Json = False,
) -> None:
    """List training jobs, the newest first, or show one in full.

    Examples:

    \b
      wildsage jobs
      wildsage jobs --status Failed --limit 0
      wildsage jobs JOB --json
    """
    platform = clients.platform()
    if name is not None:
        job = platform.describe_training_job(TrainingJobName=name)
        if json:
            job["Summary"] = platform.training_summary(name)
            show.as_json(job)
        else:
            _describe_job(platform, job)
        return
    wanted = {} if status is None else {"StatusEquals": status}
    order = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    found = clients.listed(platform.list_training_jobs, "TrainingJobSummaries", **order, **wanted)
    summaries = list(islice(found, limit or None))
    if json:
        show.as_json(summaries)
    else:
        rows = [
            (each["TrainingJobName"], each["TrainingJobStatus"], each["CreationTime"], show.duration(_lasted(each)))
            for each in summaries
        ]
        show.table(("Job", "Status", "Created", "Took"), rows, empty="No jobs yet. Start one: wildsage train --help")
    if limit and next(found, None) is not None:
        show.say(f"These are the newest {limit}; all: {show.command()} jobs --limit 0")


def logs(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A job or an endpoint.", autocompletion=names.job_or_endpoint)
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job or endpoint has ended.")] = False,
    json: Json = False,
) -> None:
    """Show the log of a training job, an endpoint or a transform job.

    With --json each line is a JSON object with the line's text as "message".

    Examples:

    \b
      wildsage logs JOB
      wildsage logs -f JOB
    """
    platform = clients.platform()
    group, following = _log_of(platform, name)
    lines = following(name) if follow else _lines(platform, group, name)
    for text in lines:
        if json:
            show.as_json_line({"message": text})
        else:
            show.line(text)


def stop(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A training job.", autocompletion=names.job)],
    json: Json = False,
) -> None:
    """Stop a training job. It keeps the best model it has so far.

    Examples:

    \b
      wildsage stop JOB
    """
    platform = clients.platform()
    platform.stop_training_job(TrainingJobName=name)
    job = platform.describe_training_job(TrainingJobName=name)
    if json:
        show.as_json(job)
    else:
        show.line(f"{name}: {job['TrainingJobStatus']}")


def _describe(built_in: BuiltIn, *, available: bool) -> None:
    show.line(f"{built_in.name}: {', '.join(built_in.tasks or ['of another package']).replace('_', ' ')}")
    if not available:
        show.line("Its contract is known, but it is not part of this installation yet.")
    show.line("\nHyperparameters")
    modes = {mode for each in built_in.hyperparameters if each.name == "mode" for mode in each.choices}
    rows: list[tuple[Any, ...]] = []
    for each in built_in.hyperparameters:
        default = "required" if each.required else each.default
        some = () if modes <= set(each.applies_to) else each.applies_to
        meaning = f"{each.meaning} ({each.note})" if each.note else each.meaning
        row = (each.name, each.type, each.allowed(), default, _marked(meaning, each, built_in), ", ".join(some))
        rows.append(row)
    show.table(("Name", "Type", "Range", "Default", "Meaning", "For"), rows, empty="none")
    show.line("\nChannels")
    rows = [
        (
            each.name,
            "required" if each.required else "optional",
            f"{', '.join(each.content_types)} ({', '.join(each.input_modes)})" if each.content_types else "",
            _marked(each.meaning, each, built_in),
        )
        for each in built_in.channels
    ]
    show.table(("Name", "", "Content types and input modes", "Meaning"), rows, empty="none")
    show.line("\nMetrics")
    rows = [(each.name, each.direction or "", each.meaning, each.regex or "") for each in built_in.metrics]
    show.table(("Name", "", "Meaning", "Regex of its log line"), rows, empty="none")


def _models_found(platform: Platform, channels: dict[str, str]) -> dict[str, str]:
    """The channels, with the model's file for the name of a job where a model is wanted. A path comes before a job."""
    from pathlib import Path

    from wildsage.platform.errors import ServiceError

    found = dict(channels)
    for name in MODEL_CHANNELS & channels.keys():
        with suppress(ServiceError, OSError):  # what is neither is told as a path that does not exist
            if not Path(channels[name]).exists():
                job = platform.describe_training_job(TrainingJobName=channels[name])
                found[name] = job.get("ModelArtifacts", {}).get("S3ModelArtifacts") or channels[name]
    return found


def _marked(meaning: str, fact: HyperparameterFact | ChannelFact, built_in: BuiltIn) -> str:
    """A meaning, with a mark where the managed service does not have such a thing, though it has the algorithm."""
    return f"{meaning} [ours]" if fact.beyond_contract and not built_in.beyond_contract else meaning


def _watch(platform: Platform, job: str, *, quiet: bool) -> None:
    """Show the log until the job has ended; a bar below it on a terminal. quiet: to stderr, stdout waits for JSON."""
    if quiet or not show.on_terminal():
        for text in platform.follow_training_log(job):
            (show.say if quiet else show.line)(text)
        return
    from threading import Event, Thread

    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=show.console(), transient=True) as progress:
        bar = progress.add_task("starting", total=None)
        over = Event()

        def look() -> None:
            while not over.wait(0.1):
                state = platform.training_progress(job)
                if state:
                    progress.update(bar, completed=state["done"], total=state["total"], description=_stand(state))

        watcher = Thread(target=look, daemon=True)
        watcher.start()
        try:
            for text in platform.follow_training_log(job):
                # The log's own stamp and its lines for metric regexes are for programs; `wildsage logs` shows them.
                shown = _STAMP.sub("", text)
                if not shown.startswith("#"):
                    progress.console.print(shown, markup=False)
        finally:
            over.set()
            watcher.join()


def _stand(state: dict[str, Any]) -> str:
    """How far a job is, in one line. state: what training_progress() answers."""
    parts = [f"{show.number(state['done'])} of {show.number(state['total'])} {state['unit']}"]
    for key, value in state.get("figures", {}).items():
        if key == "seconds_left":
            parts.append(f"{show.duration(value)} left")
        else:
            parts.append(f"{key.replace('_', ' ')} {show.number(value)}")
    return ", ".join(parts)


def _report(platform: Platform, job: str, *, json: bool) -> None:
    """Say how an ended job went; exit with 1 if it did not complete."""
    described = platform.describe_training_job(TrainingJobName=job)
    if json:
        described["Summary"] = platform.training_summary(job)
        show.as_json(described)
    elif described["TrainingJobStatus"] == "Completed":
        show.line("")
        _describe_job(platform, described)
        show.say(f"\nServe it with: {show.command()} deploy {job}")
    if described["TrainingJobStatus"] == "Failed":
        raise ClientError(f"job {job} failed: {described.get('FailureReason', 'no reason given')}")
    if described["TrainingJobStatus"] == "Stopped":
        raise ClientError(f"job {job} was stopped before its end")


def _describe_job(platform: Platform, job: dict[str, Any]) -> None:
    """What a person wants to know of a job, a fact a line."""
    name = job["TrainingJobName"]
    facts: list[tuple[str, Any]] = [
        ("Job", name),
        ("Status", job["TrainingJobStatus"]),
        ("Why", job.get("FailureReason")),
        ("Algorithm", job["AlgorithmSpecification"].get("TrainingImage")),
        ("Created", show.when(job.get("CreationTime"))),
        ("Took", show.duration(_lasted(job))),
        ("Model", job.get("ModelArtifacts", {}).get("S3ModelArtifacts")),
        ("Output data", platform.training_output(name)),
    ]
    latest = {record.name: record.value for record in platform.training_metrics(name)}
    facts += [(metric, f"{value:.6g}") for metric, value in latest.items()]
    summary = platform.training_summary(name) or {}
    facts += [(key.replace("_", " "), value) for key, value in summary.items() if not isinstance(value, dict)]
    facts += [(key, value) for key, value in sorted(job.get("HyperParameters", {}).items())]
    for key, value in facts:
        if value not in (None, ""):
            shown = f"{value:.4g}" if isinstance(value, float) else value
            show.line(f"{key:<26} {shown}")


def _lasted(job: dict[str, Any]) -> float | None:
    start, end = job.get("CreationTime"), job.get("TrainingEndTime")
    return (end - start).total_seconds() if start and end else None


def _log_of(platform: Platform, name: str) -> tuple[str, Any]:
    """The log group of whatever has this name, and the call that follows it."""
    from wildsage.platform.errors import ServiceError

    kinds = (
        ("TrainingJobs", platform.describe_training_job, "TrainingJobName", platform.follow_training_log),
        ("Endpoints", platform.describe_endpoint, "EndpointName", platform.follow_endpoint_log),
        ("TransformJobs", platform.describe_transform_job, "TransformJobName", platform.follow_transform_log),
    )
    for group, describe, key, follow in kinds:
        try:
            describe(**{key: name})
        except ServiceError:
            continue
        return f"/aws/sagemaker/{group}" + (f"/{name}" if group == "Endpoints" else ""), follow
    raise ClientError(f'there is no job or endpoint "{name}"; list them with `wildsage jobs` and `wildsage endpoints`')


def _lines(platform: Platform, group: str, name: str) -> Any:
    """The log so far, page by page."""
    prefix = {} if group.endswith(f"/{name}") else {"logStreamNamePrefix": f"{name}/"}
    for stream in platform.logs.describe_log_streams(logGroupName=group, **prefix)["logStreams"]:
        token: dict[str, str] = {}
        while True:
            page = platform.logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True, **token
            )
            yield from (event["message"] for event in page["events"])
            if not page["events"] or page["nextForwardToken"] == token.get("nextToken"):
                break
            token = {"nextToken": page["nextForwardToken"]}
