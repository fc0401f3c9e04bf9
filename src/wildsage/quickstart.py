"""The first five minutes in one call: reviews in; a classifier trained, served, asked over HTTP, judged; all tidied."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wildsage import samples
from wildsage.contract.errors import ClientError
from wildsage.contract.files import write_atomically

if TYPE_CHECKING:
    from wildsage.platform.service import Platform

ALGORITHM = "blazingtext"
SENTIMENTS = {"__label__-1": "negative", "__label__0": "neutral", "__label__1": "positive"}
# Chosen on the validation reviews alone; the held-out ones had no say.
HYPERPARAMETERS: dict[str, Any] = {
    "mode": "supervised",
    "epochs": 40,
    "early_stopping": True,
    "patience": 5,
    "learning_rate": 0.1,
    "vector_dim": 16,
    "word_ngrams": 3,
    "min_count": 1,
    "buckets": 200_000,
    "seed": 1,
}
QUESTIONS = (
    "Absolutely love this dress, it fits perfectly and I get so many compliments!",
    "It is okay, but the sleeves are a bit long and I am not sure I will keep it.",
    "Terrible quality, it fell apart after one wash and I sent it back.",
)
TEXTS_A_REQUEST = 100
REQUEST_TIMEOUT_S = 60
POLL_S = 0.05


class Listener(Protocol):
    """Who hears how it goes."""

    def step(self, title: str) -> None:
        """A phase begins."""

    def done(self, title: str, seconds: float, result: str) -> None:
        """It has ended, with a result in one line."""

    def epoch(self, number: int, asked: int, validation_accuracy: float) -> None:
        """An epoch of the training has been validated."""


@dataclass(frozen=True)
class Answer:
    """What the endpoint said to one text. sentiment: negative, neutral or positive."""

    text: str
    sentiment: str
    probability: float


@dataclass
class Outcome:
    """All that the quickstart found out."""

    job: str = ""
    train_reviews: int = 0
    validation_reviews: int = 0
    held_out_reviews: int = 0
    held_out_accuracy: float = 0.0
    majority_accuracy: float = 0.0  # of always guessing the sentiment that is most common among the held-out reviews
    best_validation_accuracy: float | None = None
    epochs_run: int | None = None
    epochs_asked: int | None = None
    best_epoch: int | None = None
    early_stopping_saved_epochs: int | None = None
    early_stopping_saved_s: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    training_seconds: dict[str, float] = field(default_factory=dict)  # within the job, as it measured itself
    model_file: str = ""
    model_bytes: int = 0
    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def tokenise(text: str) -> str:
    """Lower case, words and punctuation marks parted by spaces, as the classifier wants its texts.

    preserve_line keeps the text whole, so that NLTK needs no sentence model, which would be a download.
    """
    from nltk.tokenize import word_tokenize  # takes a third of a second to import

    return " ".join(word_tokenize(text.lower(), preserve_line=True))


def write_lines(reviews: Sequence[samples.Review], path: Path) -> None:
    """Write a training file: a review a line, its label first."""
    lines = (f"__label__{review.sentiment} {tokenise(review.text)}\n" for review in reviews)
    write_atomically(path, "".join(lines))  # an earlier run's job may have the old file mapped


def run(platform: Platform, listener: Listener, folder: Path, *, command: str = "wildsage") -> Outcome:
    """Do it all; leave the job's record and model, and nothing that runs. Every error and Ctrl-C cleans up as well.

    folder: where the text files go, kept afterwards. command: how the user calls the CLI, for the advice at the end.
    Raises ClientError with the job's own reason if the training fails.
    """
    import wildsage as sagemaker

    began = time.perf_counter()
    outcome = Outcome()
    with _phase(outcome, listener, "Data") as told:
        parts = samples.split(samples.reviews())
        folder.mkdir(parents=True, exist_ok=True)
        for name, reviews in (("train", parts.train), ("validation", parts.validation)):
            write_lines(reviews, folder / f"{name}.txt")
        questions = [tokenise(review.text) for review in parts.held_out]
        outcome.train_reviews, outcome.validation_reviews = len(parts.train), len(parts.validation)
        outcome.held_out_reviews = len(parts.held_out)
        told.append(
            f"{len(parts.train):,} reviews to train on, {len(parts.validation):,} to validate, "
            f"{len(parts.held_out):,} held out"
        )

    with _phase(outcome, listener, "Train") as told:
        estimator = sagemaker.estimator.Estimator(
            image_uri=sagemaker.image_uris.retrieve(framework=ALGORITHM),
            instance_count=1,
            instance_type="local",
            base_job_name="quickstart",
            sagemaker_session=sagemaker.session.Session(sagemaker_client=platform),
        )
        estimator.set_hyperparameters(**HYPERPARAMETERS)
        channels = {name: str(folder / f"{name}.txt") for name in ("train", "validation")}
        estimator.fit(channels, wait=False)
        outcome.job = estimator.jobs[-1].name
        _follow(platform, outcome.job, listener)
        _take_summary(outcome, platform.training_summary(outcome.job) or {})
        outcome.model_file = str(estimator.model_data)
        outcome.model_bytes = Path(outcome.model_file).stat().st_size
        told.append(_training_result(outcome))

    endpoint = outcome.job
    try:
        with _phase(outcome, listener, "Deploy") as told:
            predictor = estimator.deploy(
                initial_instance_count=1,
                instance_type="local",
                endpoint_name=endpoint,
                model_name=endpoint,
                wait=False,
            )
            _await_service(platform, endpoint)
            outcome.url = predictor.url
            told.append(outcome.url)
        with _phase(outcome, listener, "Ask") as told:
            outcome.answers = ask(outcome.url, QUESTIONS)
            guessed = ask(outcome.url, questions, tokenised=True)
            wanted = [SENTIMENTS[f"__label__{review.sentiment}"] for review in parts.held_out]
            outcome.held_out_accuracy = _share(zip(guessed, wanted, strict=True))
            outcome.majority_accuracy = max(Counter(wanted).values()) / len(wanted)
            told.append(f"{len(QUESTIONS)} new texts and {len(wanted)} held-out reviews over HTTP")
    finally:
        _clean_up(platform, endpoint)
    outcome.seconds["total"] = time.perf_counter() - began
    outcome.commands = next_commands(outcome.job, command)
    return outcome


def ask(url: str, texts: Sequence[str], *, tokenised: bool = False) -> list[Answer]:
    """POST texts to an endpoint, a hundred a request, and read its best label for each."""
    answers = []
    for start in range(0, len(texts), TEXTS_A_REQUEST):
        batch = texts[start : start + TEXTS_A_REQUEST]
        body = json.dumps({"instances": [text if tokenised else tokenise(text) for text in batch]}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 (our own endpoint)
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:  # noqa: S310
            for text, said in zip(batch, json.load(response), strict=True):
                answers.append(Answer(text, SENTIMENTS[said["label"][0]], said["prob"][0]))
    return answers


def next_commands(job: str, command: str) -> list[str]:
    """Three commands worth trying next; the last needs the endpoint that the one before it starts."""
    text = "love the colour , but it runs small ."
    body = json.dumps({"instances": [text]})
    return [
        f'{command} predict {job} "{text}"',
        f"{command} deploy {job} --name reviews",
        f"curl -d '{body}' \"$({command} endpoints reviews --url)\"",
    ]


@contextmanager
def _phase(outcome: Outcome, listener: Listener, title: str) -> Iterator[list[str]]:
    """Time a phase; the body appends its result."""
    listener.step(title)
    began = time.perf_counter()
    result: list[str] = []
    yield result
    outcome.seconds[title.lower()] = time.perf_counter() - began
    listener.done(title, outcome.seconds[title.lower()], result[0])


def _follow(platform: Platform, job: str, listener: Listener) -> None:
    """Tell every epoch until the job has ended; stop the job if we are interrupted. Raises ClientError if it failed."""
    asked = HYPERPARAMETERS["epochs"]
    told = 0
    try:
        while True:
            status = platform.describe_training_job(TrainingJobName=job)["TrainingJobStatus"]
            epochs = [record for record in platform.training_metrics(job) if record.name == "validation:accuracy"]
            for record in epochs[told:]:
                told += 1
                listener.epoch(record.epoch if record.epoch is not None else told, asked, record.value)
            if status in ("Completed", "Failed", "Stopped"):
                break
            time.sleep(POLL_S)
    except BaseException:
        with suppress(ClientError):
            platform.stop_training_job(TrainingJobName=job)
        raise
    if status != "Completed":
        reason = platform.describe_training_job(TrainingJobName=job).get("FailureReason", "no reason given")
        raise ClientError(f"training job {job} has {status.lower()}: {reason}")


def _take_summary(outcome: Outcome, summary: dict[str, Any]) -> None:
    outcome.best_validation_accuracy = summary.get("best_validation_accuracy")
    outcome.epochs_run = summary.get("epochs_run")
    outcome.epochs_asked = summary.get("epochs_asked")
    outcome.best_epoch = summary.get("best_epoch")
    outcome.training_seconds = dict(summary.get("seconds") or {})
    if summary.get("stopped_early") and outcome.epochs_run is not None and outcome.epochs_asked is not None:
        outcome.early_stopping_saved_epochs = outcome.epochs_asked - outcome.epochs_run
        outcome.early_stopping_saved_s = summary.get("seconds_saved")


def _training_result(outcome: Outcome) -> str:
    if outcome.early_stopping_saved_epochs:
        ran = f"stopped after epoch {outcome.epochs_run} of {outcome.epochs_asked}"
    else:
        ran = f"all {outcome.epochs_run} epochs"
    return f"{ran}, kept the best, epoch {outcome.best_epoch}"


def _share(pairs: Iterator[tuple[Answer, str]]) -> float:
    right = [answer.sentiment == wanted for answer, wanted in pairs]
    return sum(right) / len(right)


def _await_service(platform: Platform, endpoint: str) -> None:
    """Return when the endpoint answers. Raises ClientError with the reason if it cannot come up."""
    while (described := platform.describe_endpoint(EndpointName=endpoint))["EndpointStatus"] == "Creating":
        time.sleep(POLL_S)
    if described["EndpointStatus"] != "InService":
        reason = described.get("FailureReason", "no reason given")
        raise ClientError(f"endpoint {endpoint} is {described['EndpointStatus']}: {reason}")


def _clean_up(platform: Platform, endpoint: str) -> None:
    """Remove what deploying made, all under one name: endpoint, configuration, model record. The model file stays."""
    # Where deploying failed halfway, some are not there; cleaning up must not hide the error that led to it.
    with suppress(ClientError):
        platform.delete_endpoint(EndpointName=endpoint)
    with suppress(ClientError):
        platform.delete_endpoint_config(EndpointConfigName=endpoint)
    with suppress(ClientError):
        platform.delete_model(ModelName=endpoint)
