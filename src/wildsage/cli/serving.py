"""Commands around serving: models, deploy, endpoints, predict, delete."""

from __future__ import annotations

import io
import json as jsonlib
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wildsage.cli import clients, names, show
from wildsage.cli.training import Json
from wildsage.contract.errors import ClientError
from wildsage.contract.record import MAGIC

if TYPE_CHECKING:
    from wildsage.platform.service import Platform

JSON_TYPE, CSV_TYPE = "application/json", "text/csv"
QUOTED = "'some text'"
GONE_S = 0.1


class Kind(StrEnum):
    ENDPOINT = "endpoint"
    MODEL = "model"
    JOB = "job"


def models(json: Json = False) -> None:
    """List models: those that endpoints serve, and the model files that jobs have left.

    Examples:

    \b
      wildsage models
    """
    platform = clients.platform()
    found: list[dict[str, Any]] = []
    for summary in clients.listed(platform.list_models, "Models"):
        model = platform.describe_model(ModelName=summary["ModelName"])
        file = model.get("PrimaryContainer", {}).get("ModelDataUrl")
        found.append({"Name": model["ModelName"], "Kind": "model", "File": file, "Created": model["CreationTime"]})
    order = {"SortBy": "CreationTime", "SortOrder": "Descending"}
    for summary in clients.listed(platform.list_training_jobs, "TrainingJobSummaries", **order):
        job = platform.describe_training_job(TrainingJobName=summary["TrainingJobName"])
        file = job.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        if file and job["TrainingJobStatus"] in ("Completed", "Stopped"):
            created = job.get("TrainingEndTime") or job["CreationTime"]
            found.append({"Name": job["TrainingJobName"], "Kind": "job", "File": file, "Created": created})
    if json:
        show.as_json(found)
        return
    rows = [(each["Name"], each["Kind"], each["Created"], each["File"]) for each in found]
    show.table(("Name", "Kind", "Created", "File"), rows, empty="No models yet. Train one: wildsage train --help")


def deploy(
    model: Annotated[
        str,
        typer.Argument(
            metavar="JOB|MODEL",
            help="A job, a model, or the path of a model.tar.gz.",
            autocompletion=names.model_or_job,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(
            "--name", "-n", metavar="NAME", help="The endpoint's name.", show_default="the algorithm and the time"
        ),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose model a bare model.tar.gz holds.",
            show_default="found out from its files",
            autocompletion=names.algorithm,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Serve a model over HTTP on this machine, until `wildsage delete endpoint`.

    Examples:

    \b
      wildsage deploy JOB --name reviews
      wildsage deploy model.tar.gz --name reviews
    """
    platform = clients.platform()
    model_data, image = _model_of(platform, model, algorithm)
    from wildsage.sdk.model import Model
    from wildsage.sdk.names import name_from_image

    endpoint = name or name_from_image(image or "model")
    if _found(platform.describe_endpoint, EndpointName=endpoint):
        raise ClientError(
            f'there is an endpoint "{endpoint}" already; choose another --name, or end it with: '
            f"{show.command()} delete endpoint {endpoint}"
        )
    # Under the endpoint's name, so that `delete endpoint` can tell whom the record was made for.
    record = None if _found(platform.describe_model, ModelName=endpoint) else endpoint
    served = Model(image_uri=image, model_data=model_data, name=record, sagemaker_session=clients.session(platform))
    # The SDK writes a dash a second to stdout while it waits.
    with show.working("Starting the endpoint"), redirect_stdout(io.StringIO()):
        served.deploy(initial_instance_count=1, instance_type="local", endpoint_name=endpoint)
    url = platform.endpoint_url(endpoint)
    if json:
        show.as_json({**platform.describe_endpoint(EndpointName=endpoint), "Url": url})
        return
    show.line(f"{endpoint} answers at {url}")
    rows = _takes_rows(platform, endpoint)
    show.say(f"Ask it:     {_curl(url, rows)}")
    show.say(f"or:         {show.command()} predict {endpoint} {'--file rows.csv' if rows else QUOTED}")
    show.say(f"End it:     {show.command()} delete endpoint {endpoint}")


def endpoints(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Show this one in full.", autocompletion=names.endpoint, show_default=False
        ),
    ] = None,
    url: Annotated[bool, typer.Option("--url", help="Print the endpoint's address alone, as for curl.")] = False,
    json: Json = False,
) -> None:
    """List endpoints with their addresses, or show one.

    Examples:

    \b
      wildsage endpoints
      curl -d '{"instances": ["nice"]}' "$(wildsage endpoints reviews --url)"
      curl -H 'Content-Type: text/csv' --data-binary @rows.csv \\
          "$(wildsage endpoints clusters --url)"
    """
    platform = clients.platform()
    if name is None:
        if url:
            raise typer.BadParameter("--url needs the endpoint's name")
        listed = list(clients.listed(platform.list_endpoints, "Endpoints"))
        for each in listed:
            each["Url"] = _url(platform, each)
        if json:
            show.as_json(listed)
            return
        rows = [(each["EndpointName"], each["EndpointStatus"], each["CreationTime"], each["Url"]) for each in listed]
        show.table(
            ("Endpoint", "Status", "Created", "Address"), rows, empty="No endpoints. Start one: wildsage deploy --help"
        )
        return
    endpoint = platform.describe_endpoint(EndpointName=name)
    endpoint["Url"] = _url(platform, endpoint)
    if url:
        show.line(platform.endpoint_url(name))
    elif json:
        show.as_json(endpoint)
    else:
        for key in ("EndpointName", "EndpointStatus", "FailureReason", "EndpointConfigName", "Url"):
            if endpoint.get(key):
                show.line(f"{key:<20} {endpoint[key]}")
        show.line(f"{'CreationTime':<20} {show.when(endpoint['CreationTime'])}")
        if endpoint["Url"]:
            show.say(f"\nAsk it: {_curl(endpoint['Url'], _takes_rows(platform, name))}")


def predict(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ENDPOINT|JOB|MODEL",
            help="An endpoint's name, a job's name, or the path of a model.tar.gz.",
            autocompletion=names.endpoint_or_job,
        ),
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT|ROW", help="What to ask, each an instance.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", "-f", help="Ask each line of this file; - for stdin.", show_default=False, allow_dash=True
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("-k", metavar="N", help="So many labels each, the best first; -1: all.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="P", help="Only labels at least as probable, from 0 to 1.", show_default=False),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show what each word or n-gram adds to the best label.")
    ] = False,
    content_type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help="Send the file as it is, as this type, and print the answer as it is.",
            show_default=False,
        ),
    ] = None,
    accept: Annotated[str | None, typer.Option(metavar="TYPE", help="The answer's type.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Ask an endpoint, or a model file directly.

    Texts, or rows of numbers parted by commas, come from the arguments, or one
    a line from a file or stdin. A text classifier knows words as they stood in
    its training file: part them by spaces in the same way. A row has features
    alone, no label.

    Examples:

    \b
      wildsage predict reviews "love it , so soft"
      wildsage predict model.tar.gz "love it , so soft" -k 3
      wildsage predict reviews "love it , so soft" --explain
      wildsage predict reviews --file reviews.txt --json
      wildsage predict clusters "5.1,3.5,1.4,0.2"
      wildsage predict clusters --file rows.csv
      wildsage predict clusters --content-type text/csv --accept text/csv --file rows.csv
    """

    if texts and file is not None:
        raise typer.BadParameter("give texts or --file, not both")
    if texts and content_type is not None:
        raise typer.BadParameter("--content-type goes with --file or stdin")
    wishes = {"k": k, "threshold": threshold, "explain": explain or None}
    configuration = {name: value for name, value in wishes.items() if value is not None}
    if configuration and content_type is not None:
        raise typer.BadParameter("-k, --threshold and --explain cannot be written into a file that is sent as it is")
    platform = clients.platform()
    if content_type is not None:
        answer = _ask(platform, target, _read(file), content_type, accept or "*/*")
        ends = b"" if answer.endswith(b"\n") or answer.startswith(MAGIC) else b"\n"
        sys.stdout.buffer.write(answer + ends)
        return
    instances = texts or [text for text in _read(file).decode("utf-8", "replace").splitlines() if text.strip()]
    if not instances:
        raise ClientError("nothing to ask: the input has no line of text")
    body: dict[str, Any] = {"instances": instances}
    if configuration:
        body["configuration"] = configuration
    said = jsonlib.loads(_ask(platform, target, jsonlib.dumps(body).encode(), JSON_TYPE, accept or JSON_TYPE))
    if json:
        show.as_json(said)
        return
    answers = _answers(said)
    if all(isinstance(answer, dict) and "label" in answer and "prob" in answer for answer in answers):
        rows = [
            (label, f"{probability:.4f}", text)
            for text, answer in zip(instances, answers, strict=True)
            for label, probability in zip(answer["label"], answer["prob"], strict=True)
        ]
        show.table(
            ("Label", "Probability", "Text"), rows, empty="no label is so probable" if threshold else "no answers"
        )
        if explain:
            show.line("")
            parts = [
                (part["token"], f"{part['weight']:+.3f}", text)
                for text, answer in zip(instances, answers, strict=True)
                for part in sorted(answer.get("explanation", []), key=lambda part: -abs(part["weight"]))
                if part["weight"]  # an n-gram that training never saw adds nothing
            ]
            show.table(("Word or n-gram", "Weight", "Text"), parts, empty="the model explains nothing")
        return
    for answer in answers:
        show.as_json_line(answer)


def delete(
    kind: Annotated[Kind, typer.Argument(metavar="endpoint|model|job", help="What it is.", case_sensitive=False)],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.", autocompletion=names.anything)],
    json: Json = False,
) -> None:
    """Delete an endpoint, a model's record or a training job's record.

    An endpoint first answers the requests that it has. The model record that
    `wildsage deploy` made for it goes with it. Model files stay; delete them as
    you would any file.

    Examples:

    \b
      wildsage delete endpoint reviews
      wildsage delete job JOB
    """
    from wildsage.platform.errors import ServiceError

    platform = clients.platform()
    if kind is Kind.ENDPOINT:
        config = platform.describe_endpoint(EndpointName=name)["EndpointConfigName"]
        with show.working(f"Waiting for the last answers of {name}"):
            platform.delete_endpoint(EndpointName=name)
        # What `deploy` made with it may be gone already, and nobody asked for it by name.
        with suppress(ServiceError):
            variants = platform.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
            platform.delete_endpoint_config(EndpointConfigName=config)
            if any(variant["ModelName"] == name for variant in variants):
                platform.delete_model(ModelName=name)
        _wait_until_gone(platform, name)
    elif kind is Kind.MODEL:
        platform.delete_model(ModelName=name)
    else:
        platform.delete_training_job(TrainingJobName=name)
    if json:
        show.as_json({"Deleted": name, "Kind": str(kind)})
    else:
        show.line(f"{kind} {name} is deleted")


def _wait_until_gone(platform: Platform, name: str) -> None:
    """Wait while a deleted endpoint drains."""

    def there() -> bool:
        found = _found(platform.describe_endpoint, EndpointName=name)
        return found is not None and found["EndpointStatus"] == "Deleting"  # else it is another one of that name

    if not there():
        return
    if not sys.stderr.isatty():
        show.say(f"{name} still answers requests that it has; it is gone once they are done")
    with show.working(f"Waiting for the last answers of {name}"):
        while there():
            time.sleep(GONE_S)


def _is_path(text: str) -> bool:
    """Whether the text can only be a path or a URL: no name has a slash or such an ending."""
    return "/" in text or text.endswith((".tar.gz", ".tgz", ".bin", ".ftz"))


def _model_of(platform: Platform, name: str, algorithm: str | None = None) -> tuple[str, str | None]:
    """Where the model of a file, a job or a model record lies, and the image of its algorithm, if that is known.

    A job or model comes before a file or folder of the same name.
    """
    if _is_path(name):
        return name, algorithm
    job = _found(platform.describe_training_job, TrainingJobName=name)
    if job is not None:
        file = job.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        if not file:
            raise ClientError(f"job {name} has left no model: it is {job['TrainingJobStatus']}")
        return str(file), str(job["AlgorithmSpecification"]["TrainingImage"])
    model = _found(platform.describe_model, ModelName=name)
    if model is not None:
        return str(model["PrimaryContainer"]["ModelDataUrl"]), model["PrimaryContainer"].get("Image")
    if not Path(name).exists():
        raise ClientError(f'there is no file, job or model "{name}"; list what there is with `wildsage models`')
    return name, algorithm


def _found(describe: Callable[..., dict[str, Any]], **named: str) -> dict[str, Any] | None:
    """What a describe operation says, None where there is nothing of this name."""
    from wildsage.platform.errors import ServiceError

    try:
        return describe(**named)
    except ServiceError:
        return None


def open_model(platform: Platform, name: str) -> Path:
    """The folder with the files of a job's model, a model record's or a file's."""
    from wildsage.platform import artifacts

    model_data, _ = _model_of(platform, name)
    return artifacts.open_model(model_data, platform.home)


def _ask(platform: Platform, target: str, body: bytes, content_type: str, accept: str) -> bytes:
    """The answer of an endpoint, or of a model file that a process of its own opens."""
    if not _is_path(target) and _found(platform.describe_endpoint, EndpointName=target) is not None:
        said = platform.runtime.invoke_endpoint(EndpointName=target, Body=body, ContentType=content_type, Accept=accept)
        return bytes(said["Body"].read())
    folder = open_model(platform, target)
    command = [sys.executable, "-m", "wildsage.runtime.predict", "--model", str(folder)]
    command += ["--content-type", content_type, "--accept", accept]
    answer = subprocess.run(command, input=body, capture_output=True, check=False)
    if answer.returncode != 0:
        raise ClientError(answer.stderr.decode("utf-8", "replace").strip() or f"no answer from the model of {target}")
    return answer.stdout


def _answers(said: Any) -> Any:
    """The list of answers, which some algorithms put into an object: {"predictions": […]}, {"scores": […]}."""
    values = list(said.values()) if isinstance(said, dict) else []
    return values[0] if len(values) == 1 and isinstance(values[0], list) else said


def _read(file: Path | None) -> bytes:
    if file is None or str(file) == "-":
        if sys.stdin.isatty():
            show.say("One text a line; end with Ctrl-D.")
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise ClientError(f"{file}: {error.strerror}") from error


def _url(platform: Platform, endpoint: dict[str, Any]) -> str | None:
    return platform.endpoint_url(endpoint["EndpointName"]) if endpoint["EndpointStatus"] == "InService" else None


def _takes_rows(platform: Platform, endpoint: str) -> bool:
    """Whether an endpoint's model takes rows of numbers, and not texts."""
    from wildsage.contract import builtins
    from wildsage.platform.errors import ServiceError

    try:
        config = platform.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
        variants = platform.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
        image = platform.describe_model(ModelName=variants[0]["ModelName"])["PrimaryContainer"].get("Image")
        return bool(image) and CSV_TYPE in builtins.table(builtins.resolve(image)).request_types
    except (ServiceError, ClientError):  # its records are gone, or it is another package's
        return False


def _curl(url: str, rows: bool) -> str:
    if rows:
        return f"curl -H 'Content-Type: {CSV_TYPE}' --data-binary @rows.csv {url}"
    return f'curl -d \'{{"instances": ["some text"]}}\' {url}'
