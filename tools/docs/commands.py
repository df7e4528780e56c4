"""Flags and subcommands -> their parts of docs/reference/cli.md; the rest is prose."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from cmux_proxy.cli import proxy_command as root
from cmux_proxy.config.options import GROUPS
from tools.docs.marked import replace_marked
from tools.docs.tables import declared, escaped, flag_table

PAGE: Final = Path(__file__).parent.parent.parent / "docs" / "reference" / "cli.md"
_NAME: Final = "docs/reference/cli.md"


def cli_page() -> str:
    """Return the page with new generated parts; raise LookupError if marks are missing."""
    page = PAGE.read_text("utf-8")
    for title, flags in GROUPS.items():
        page = replace_marked(page, f"flags, {title}", flag_table(flags), _NAME)
    return replace_marked(page, "subcommands", subcommands(), _NAME)


def subcommands() -> str:
    """Return a section per subcommand: usage, help and flags."""
    context = click.Context(root, info_name="cmux-proxy", **root.context_settings)
    return "\n".join(
        line for name in sorted(root.commands) for line in _section(context, root.commands[name])
    )


def _section(context: click.Context, command: click.Command) -> Iterable[str]:
    below = click.Context(command, context, info_name=command.name)
    usage = " ".join(["cmux-proxy", command.name or "", *command.collect_usage_pieces(below)])
    yield f"### {command.name}\n\n```\n{usage}\n```\n"
    for paragraph in (command.help or "").split("\n\n"):
        yield f"{escaped(' '.join(paragraph.split()))}\n"
    rows = [_row(below, param) for param in command.params if isinstance(param, click.Option)]
    if rows:
        yield "\n".join(["| flag | meaning |", "| --- | --- |", *rows]) + "\n"


def _row(context: click.Context, option: click.Option) -> str:
    record = option.get_help_record(context)
    return f"| {declared(context, option)} | {escaped(record[1] if record else '')} |"
