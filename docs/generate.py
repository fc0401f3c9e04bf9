"""Write docs/cli.md and docs/hyperparameters.md from the program itself; a test fails when they are stale."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import typer.main

from wildsage.cli.app import app
from wildsage.contract import builtins

HERE = Path(__file__).parent
NOTE = "<!-- Written by docs/generate.py (make docs); change the program, not this page. -->"


def cli_page() -> str:
    """Every command with its arguments, options and examples."""
    group: Any = typer.main.get_command(app)
    parts = ["# Commands", NOTE, _help(group)[0]]
    rows = [
        f"| [`{name}`](#wildsage-{name.replace(' ', '-')}) | {_help(command)[0].splitlines()[0]} |"
        for name, command in _commands(group)
    ]
    parts.append("\n".join(["| command | what it does |", "|---|---|", *rows]))
    for name, command in _commands(group):
        text, examples = _help(command)
        usage = " ".join(["wildsage", name, "[OPTIONS]", *filter(None, map(_usage, command.params))])
        parts += [f"## wildsage {name}", text, f"```\n{usage}\n```"]
        rows = []
        for parameter in command.params:
            record = _parameter(parameter)
            if record is not None:
                rows.append("| {} | {} |".format(*map(_cell, record)))
        parts.append("\n".join(["| argument or option | meaning |", "|---|---|", *rows]))
        if examples:
            parts.append(f"```sh\n{examples}\n```")
    return "\n\n".join(parts) + "\n"


def hyperparameters_page() -> str:
    """Every hyperparameter, channel and metric of the algorithms that are installed."""
    parts = [
        "# Hyperparameters",
        NOTE,
        "Names, types, ranges and defaults are those of the managed service; what it does not have is marked *ours*. "
        "`wildsage algorithms NAME` shows the same.",
    ]
    for name in builtins.names():
        if name not in builtins.installed():
            continue
        facts = builtins.table(name)
        modes = {mode for each in facts.hyperparameters if each.name == "mode" for mode in each.choices}
        rows = []
        for each in facts.hyperparameters:
            default = "required" if each.required else "" if each.default is None else f"`{each.default}`"
            some = () if modes <= set(each.applies_to) else each.applies_to
            meaning = (
                each.meaning + (f" ({each.note})" if each.note else "") + (" *ours*" if each.beyond_contract else "")
            )
            rows.append(_row(f"`{each.name}`", each.type, each.allowed(), default, meaning, ", ".join(some) or "all"))
        parts.append(f"## {name}")
        if facts.beyond_contract:
            parts.append("*Ours*: the managed service has nothing of this name.")
        parts.append("\n".join([_row("name", "type", "range", "default", "meaning", "modes"), "|---" * 6 + "|", *rows]))
        rows = [
            _row(
                f"`{each.name}`",
                "yes" if each.required else "no",
                ", ".join(each.content_types),
                each.meaning + (" *ours*" if each.beyond_contract else ""),
            )
            for each in facts.channels
        ]
        parts.append("\n".join([_row("channel", "required", "content types", "meaning"), "|---" * 4 + "|", *rows]))
        rows = [_row(f"`{each.name}`", each.direction or "", f"`{each.regex}`", each.meaning) for each in facts.metrics]
        parts.append("\n".join([_row("metric", "aim", "regex of its log line", "meaning"), "|---" * 4 + "|", *rows]))
    return "\n\n".join(parts) + "\n"


PAGES = {"cli.md": cli_page, "hyperparameters.md": hyperparameters_page}


def _commands(group: Any, before: str = "") -> list[tuple[str, Any]]:
    """Every command by its full name; those of a group one by one."""
    found: list[tuple[str, Any]] = []
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found += _commands(command, f"{before}{name} ") if inner else [(before + name, command)]
    return found


def _help(command: Any) -> tuple[str, str]:
    """The help's text and its examples."""
    text = textwrap.dedent(command.help or "").strip()
    text, _, examples = text.partition("Examples:")
    paragraphs = [re.sub(r"\s*\n\s*", " ", paragraph) for paragraph in text.strip().split("\n\n")]
    return "\n\n".join(paragraphs), textwrap.dedent(examples.replace("\b", "").strip("\n"))


def _usage(parameter: Any) -> str:
    if parameter.param_type_name != "argument":
        return ""
    name = _metavar(parameter) + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _parameter(parameter: Any) -> tuple[str, str] | None:
    if parameter.name == "help" or getattr(parameter, "hidden", False):
        return None
    meaning = getattr(parameter, "help", None) or ""
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`", meaning
    names = ", ".join(parameter.opts)
    value = "" if parameter.is_flag else f" {_metavar(parameter)}"
    default = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    if not parameter.is_flag and default not in (None, "", []) and parameter.show_default:
        meaning += f" Default: {default}."
    return f"`{names}{value}`", meaning


def _row(*cells: str) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    for page, written in PAGES.items():
        (HERE / page).write_text(written(), encoding="utf-8")
