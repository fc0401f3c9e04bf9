"""The program: its commands, its help, and what an error means for its exit code."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

from wildsage import __version__
from wildsage.cli import clients, pictures, serving, show, this_machine, training, words
from wildsage.contract.errors import WildsageError

EXIT_ERROR = 1  # 2 is typer's, for a command that is written wrong
EXIT_INTERRUPTED = 128 + signal.SIGINT

app = typer.Typer(
    name="wildsage",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

GET_STARTED, TRAIN, SERVE = "Get started", "Train", "Serve"
app.command("quickstart", rich_help_panel=GET_STARTED)(this_machine.quickstart)
app.command("doctor", rich_help_panel=GET_STARTED)(this_machine.doctor)
app.command("algorithms", rich_help_panel=GET_STARTED)(training.algorithms)
app.command("train", rich_help_panel=TRAIN)(training.train)
app.command("jobs", rich_help_panel=TRAIN)(training.jobs)
app.command("logs", rich_help_panel=TRAIN)(training.logs)
app.command("plot", rich_help_panel=TRAIN)(pictures.plot)
app.command("stop", rich_help_panel=TRAIN)(training.stop)
app.command("models", rich_help_panel=SERVE)(serving.models)
app.command("deploy", rich_help_panel=SERVE)(serving.deploy)
app.command("endpoints", rich_help_panel=SERVE)(serving.endpoints)
app.command("predict", rich_help_panel=SERVE)(serving.predict)
app.command("delete", rich_help_panel=SERVE)(serving.delete)
app.command("words", rich_help_panel=SERVE)(words.words)
model = typer.Typer(no_args_is_help=True, help="Change a trained model.")
model.command("quantize")(words.quantize)
app.add_typer(model, name="model", rich_help_panel=SERVE)


def _version(wanted: bool) -> None:
    if wanted:
        show.line(f"wildsage {__version__}")
        raise typer.Exit


@app.callback()
def wildsage(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Pick an algorithm, train it on your files, get a model file and an HTTP endpoint.

    Start with `wildsage quickstart`. With --json, every command prints JSON on
    stdout and nothing else there.

    Jobs and endpoints live on when a command ends. Their home is ~/.wildsage,
    or the folder that WILDSAGE_HOME names.
    """


def run() -> None:
    """Run the command of sys.argv. Exit codes: 0; 1 an error, told in one line; 2 a command that is written wrong."""
    try:
        app()
    except WildsageError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does; stdout must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_ERROR)
    except OSError as error:  # a disk or a folder of the user's; what it is called says more than where we were
        _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    finally:
        clients.close()


def _fail(reason: str) -> NoReturn:
    show.say(f"wildsage: {reason}")
    sys.exit(EXIT_ERROR)
