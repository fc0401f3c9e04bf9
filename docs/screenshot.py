"""Run the quickstart in an empty home, and keep what it prints on a terminal as docs/pictures/quickstart.svg."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from wildsage.cli import app, show, this_machine

PICTURE = Path(__file__).parent / "pictures" / "quickstart.svg"
COLUMNS = 118


class _Still(this_machine._Live):
    """The lines that stay, without the spinner."""

    def step(self, title: str) -> None: ...


def main() -> None:
    terminal = Console(
        record=True, force_terminal=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor", highlight=False
    )
    terminal.print("[bold green]$[/bold green] make quickstart")
    show.console = lambda **_: terminal
    show.on_terminal = lambda: True
    show.line = lambda text: terminal.print(text, markup=False)
    this_machine._Live = _Still  # type: ignore[misc]
    sys.argv = ["wildsage", "quickstart"]
    with tempfile.TemporaryDirectory() as folder:
        # Paths below the home folder are shown as ~, so the picture has nothing of this machine in it. The compiled
        # kernels stay where they are: a run that compiles them is not what users see.
        os.environ.setdefault("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
        os.environ["HOME"] = folder
        os.environ.pop("WILDSAGE_HOME", None)
        show.command = lambda: ".venv/bin/wildsage"
        try:
            app.run()
        except SystemExit as end:
            if end.code:
                raise
    picture = terminal.export_svg(title="Wildsage quickstart")
    # The viewer's own monospaced font will do; a picture should fetch nothing.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    PICTURE.write_text(picture.replace("Fira Code", "ui-monospace, Menlo, Consolas"), encoding="utf-8")


if __name__ == "__main__":
    main()
