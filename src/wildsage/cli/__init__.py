"""`wildsage …`: parse, call, print. What the commands do is done by platform and sdk.

app.py has the program, training.py, serving.py, words.py and this_machine.py its commands, show.py how they print.
Heavy modules load in the command that needs them, so that `wildsage --help` and the shell's completion answer at once.
"""

from __future__ import annotations


def main() -> None:
    """The program's entry point: run a command, turn an error into one line on stderr and an exit code."""
    try:
        from wildsage.cli.app import run
    except KeyboardInterrupt:  # Ctrl-C this early is no fault to show a traceback for
        raise SystemExit(130) from None
    run()
