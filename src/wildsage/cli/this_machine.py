"""Commands to begin with: quickstart, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wildsage.cli import clients, show
from wildsage.cli.training import Json
from wildsage.contract.errors import ClientError

if TYPE_CHECKING:
    from wildsage.quickstart import Outcome


def quickstart(json: Json = False) -> None:
    """Train a classifier on real reviews, serve it, ask it over HTTP, and show what happened.

    Needs no data of yours and no network. The endpoint is deleted at the end;
    the job and its model file stay, so that you can go on with them.

    Examples:

    \b
      wildsage quickstart
    """
    import signal
    import sys

    from wildsage import quickstart as tour

    # Ended by a signal or by its terminal's closing, it must clean up as it does on Ctrl-C.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, frame: sys.exit(128 + number))
    platform = clients.platform()
    teller = _Silent() if json else _Live() if show.on_terminal() else _Plain()
    if not json:
        show.line("Wildsage quickstart: from customers' reviews to an endpoint that answers\n")
    outcome = tour.run(platform, teller, platform.home / "quickstart", command=show.command())
    if json:
        show.as_json(outcome.as_dict())
    else:
        _tell(outcome)


def doctor(json: Json = False) -> None:
    """Say what this machine has for Wildsage, and what to do about what is missing.

    Exits with 1 where something is so wrong that jobs or endpoints will fail.

    Examples:

    \b
      wildsage doctor
    """
    from dataclasses import asdict

    from wildsage.doctor import Verdict, examine
    from wildsage.platform.names import default_home

    findings = examine(default_home())
    if json:
        show.as_json([asdict(finding) for finding in findings])
    else:
        rows = [(each.subject, str(each.verdict), each.found, each.advice) for each in findings]
        show.table(("What", "", "Found", "What to do"), rows, empty="")
    bad = [finding.subject for finding in findings if finding.verdict is Verdict.BAD]
    if bad:
        raise ClientError(f"needs your attention: {', '.join(bad)}")


class _Silent:
    """With --json: nothing until the end."""

    def step(self, title: str) -> None: ...

    def done(self, title: str, seconds: float, result: str) -> None: ...

    def epoch(self, number: int, asked: int, validation_accuracy: float) -> None: ...


class _Plain(_Silent):
    """A line for everything."""

    def done(self, title: str, seconds: float, result: str) -> None:
        show.line(f"{title:<8} {seconds:5.2f} s  {result}")

    def epoch(self, number: int, asked: int, validation_accuracy: float) -> None:
        show.line(f"                  epoch {number:2} of {asked}: validation accuracy {validation_accuracy:.4f}")


class _Live(_Silent):
    """On a terminal: a spinner with the epoch's figures while a phase runs, then its line."""

    def __init__(self) -> None:
        from rich.status import Status

        self.console = show.console()
        self.accuracies: list[float] = []
        self.status: Status | None = None

    def step(self, title: str) -> None:
        self.status = self.console.status(f"[bold]{title}[/bold]")
        self.status.start()

    def done(self, title: str, seconds: float, result: str) -> None:
        if self.status is not None:
            self.status.stop()
        self.console.print(f"[green]✓[/green] [bold]{title:<8}[/bold] [cyan]{seconds:5.2f} s[/cyan]  {result}")
        if self.accuracies:
            curve = f"{sparkline(self.accuracies)}  accuracy by epoch"
            self.console.print(f"{'':20}[dim]{curve}[/dim]")
            self.accuracies = []

    def epoch(self, number: int, asked: int, validation_accuracy: float) -> None:
        self.accuracies.append(validation_accuracy)
        if self.status is not None:
            curve = sparkline(self.accuracies)
            self.status.update(
                f"[bold]Train[/bold]  epoch {number} of at most {asked}  {curve}  {validation_accuracy:.3f}"
            )


def sparkline(values: list[float]) -> str:
    """Values as a line of blocks, the lowest to the highest."""
    low, high = min(values), max(values)
    blocks = "▁▂▃▄▅▆▇█"
    scale = (len(blocks) - 1) / (high - low) if high > low else 0.0
    return "".join(blocks[round((value - low) * scale)] for value in values)


def _tell(outcome: Outcome) -> None:
    """The end of the tour, in colour where there is a terminal for it."""
    from rich.text import Text

    console = show.console()

    def say(text: str = "", style: str = "") -> None:
        # soft_wrap: commands and paths must come out in one piece, to be copied.
        console.print(Text(text, style=style), soft_wrap=True)

    colours = {"positive": "green", "neutral": "yellow", "negative": "red"}
    say()
    for answer in outcome.answers:
        say(f"  “{answer.text}”")
        say(f"    {answer.sentiment}, {answer.probability:.2f}", colours[answer.sentiment])
    say()
    say(
        f"Accuracy on {outcome.held_out_reviews} held-out reviews: {outcome.held_out_accuracy:.1%} "
        f"(always guessing one of the three: {outcome.majority_accuracy:.1%})",
        "bold",
    )
    if outcome.early_stopping_saved_epochs:
        saved = f"{outcome.early_stopping_saved_epochs} of {outcome.epochs_asked} epochs"
        if outcome.early_stopping_saved_s is not None:
            saved += f", about {show.duration(outcome.early_stopping_saved_s)}"
        say(f"Early stopping saved: {saved}; the model is that of epoch {outcome.best_epoch}")
    phases = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in outcome.seconds.items())
    say(f"Time: {phases}")
    say(f"Model: {show.path(outcome.model_file)} ({outcome.model_bytes / 1e6:.1f} MB)")
    say("The endpoint is deleted again; nothing is left running.")
    say()
    say("Try next:", "bold")
    for command in outcome.commands:
        say(f"  {command}", "cyan")
