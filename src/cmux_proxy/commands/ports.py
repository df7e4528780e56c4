"""cmux-proxy ports: lists the listening ports of this machine, once or with every change."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, Final

import click

from cmux_proxy.commands.output import print_line, warn
from cmux_proxy.commands.table import Table, print_row, print_table
from cmux_proxy.machine.listening import LISTENERS_UNKNOWN, ListenerScanner, ListeningPort
from cmux_proxy.machine.namespaces import WORKSPACES_HIDDEN, are_workspaces_hidden

_TITLES: Final = ("PORT", "ADDRESS", "FAMILY", "WORKSPACE", "PID", "COMMAND")
# Room for later rows, so that the columns do not move.
_WIDE_ROW: Final = ("65535", "127.18.255.255", "IPv4", "workspace-12", "4194304", "")
_SCAN_INTERVAL: Final = 0.25

# The events of a port, as JSON has them, and their signs and colours in the table.
_PRESENT: Final = "present"
_OPENED: Final = "opened"
_CLOSED: Final = "closed"
_SIGNS: Final = {_PRESENT: " ", _OPENED: "+", _CLOSED: "-"}
_COLOURS: Final = {_PRESENT: None, _OPENED: "green", _CLOSED: "red"}

_Report = Callable[[str, ListeningPort], None]


@click.command("ports")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an array, or a line per change.")
@click.option("--watch", is_flag=True, help="Keep running, and print changes until Ctrl-C.")
def ports_command(as_json: bool, watch: bool) -> None:
    """List listening ports with their workspaces and processes, without connecting to them."""
    if are_workspaces_hidden():
        warn(f"cmux-proxy: WARNING: {WORKSPACES_HIDDEN}")
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(_print_event if as_json else _table_report())
        return
    listeners = _scan(ListenerScanner())
    if as_json:
        print_line(json.dumps([_fields(listener) for listener in listeners], indent=2))
    elif listeners:
        print_table([_TITLES, *map(_row, listeners)])


def _scan(scanner: ListenerScanner) -> list[ListeningPort]:
    listeners = scanner.scan()
    if not scanner.is_complete:
        raise click.ClickException(LISTENERS_UNKNOWN)
    return listeners


def _watch(report: _Report) -> None:
    scanner = ListenerScanner()
    before: dict[tuple[object, ...], ListeningPort] = {}
    new_event = _PRESENT
    while True:
        now = {_identity(listener): listener for listener in _scan(scanner)}
        for identity, listener in before.items():
            if identity not in now:
                report(_CLOSED, listener)
        for identity, listener in now.items():
            if identity not in before:
                report(new_event, listener)
        before, new_event = now, _OPENED
        # The kernel does not notify anybody of new listeners.
        time.sleep(_SCAN_INTERVAL)


def _identity(listener: ListeningPort) -> tuple[object, ...]:
    """Return what stays the same if the process executes another program."""
    return listener.port, listener.address, listener.workspace, listener.pid


def _print_event(event: str, listener: ListeningPort) -> None:
    print_line(json.dumps({"event": event, **_fields(listener)}))


def _table_report() -> _Report:
    """Print the titles; return a function that prints a row per event below them."""
    table = Table.for_rows([("", *_TITLES), ("+", *_WIDE_ROW)])
    print_row(table.line(("", *_TITLES)))

    def report(event: str, listener: ListeningPort) -> None:
        print_row(table.line((_SIGNS[event], *_row(listener))), _COLOURS[event])

    return report


def _fields(listener: ListeningPort) -> dict[str, Any]:
    return {
        "port": listener.port,
        "address": listener.address,
        "family": listener.family,
        "workspace": listener.workspace,
        "pid": listener.pid,
        "command": listener.command,
    }


def _row(listener: ListeningPort) -> tuple[str, ...]:
    pid = "-" if listener.pid is None else str(listener.pid)
    workspace, command = listener.workspace or "-", listener.command or "-"
    return str(listener.port), listener.address, listener.family, workspace, pid, command
