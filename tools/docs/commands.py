"""The subcommands -> their part of docs/reference/cli.md, between two marks; the rest is prose."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from cmux_proxy.cli import _command as root

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "reference" / "cli.md"
_BEGIN: Final = "<!-- subcommands: begin; made by `make pages` -->\n"
_END: Final = "<!-- subcommands: end -->\n"


def cli_page() -> str:
    """Return the page with what stands between the marks made anew."""
    before, begin, rest = PAGE.read_text("utf-8").partition(_BEGIN)
    _, end, behind = rest.partition(_END)
    if not begin or not end:
        raise LookupError(f"{PAGE.name} has lost the marks around its subcommands")
    return f"{before}{_BEGIN}\n{subcommands()}\n{_END}{behind}"


def subcommands() -> str:
    """Return a section for each subcommand: usage, help and flags."""
    context = click.Context(root, info_name="cmux-proxy", **root.context_settings)
    return "\n".join(
        line for name in sorted(root.commands) for line in _section(context, root.commands[name])
    )


def _section(context: click.Context, command: click.Command) -> Iterable[str]:
    below = click.Context(command, context, info_name=command.name)
    usage = " ".join(["cmux-proxy", command.name or "", *command.collect_usage_pieces(below)])
    yield f"### {command.name}\n\n```\n{usage}\n```\n"
    for paragraph in (command.help or "").split("\n\n"):
        yield f"{_escaped(' '.join(paragraph.split()))}\n"
    rows = [_row(below, param) for param in command.params if isinstance(param, click.Option)]
    if rows:
        yield "\n".join(["| flag | meaning |", "| --- | --- |", *rows]) + "\n"


def _row(context: click.Context, option: click.Option) -> str:
    names = ", ".join(option.opts)
    is_switch = option.is_flag or option.count
    declared = names if is_switch else f"{names} {option.make_metavar(context)}"
    record = option.get_help_record(context)
    # A bar would end the cell, also within code.
    bars = declared.replace("|", "\\|")
    return f"| `{bars}` | {_escaped(record[1] if record else '')} |"


def _escaped(text: str) -> str:
    """Return a text in which nothing means anything to Markdown."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|" else char for char in text)
