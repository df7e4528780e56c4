"""cmux-proxy ports: what listens on this machine, at once or as it changes."""

import contextlib
import json
import time
from collections.abc import Callable
from typing import Any, Final

import click

from cmux_proxy.commands.output import say, warn
from cmux_proxy.commands.table import Columns, print_line, print_table
from cmux_proxy.machine.listening import LISTENERS_UNKNOWN, ListenerScanner, ListeningPort
from cmux_proxy.machine.namespaces import WORKSPACES_HIDDEN, are_workspaces_hidden

_TITLES: Final = ("PORT", "ADDRESS", "FAMILY", "WORKSPACE", "PID", "COMMAND")
# Room for what may come, so that the columns stay where they are.
_USUAL: Final = ("65535", "127.18.255.255", "IPv4", "workspace-12", "4194304", "")
_LOOK_AFTER: Final = 0.25

# What has become of a port, as JSON tells it, and as people see it.
_PRESENT: Final = "present"
_OPENED: Final = "opened"
_CLOSED: Final = "closed"
_SIGNS: Final = {_PRESENT: " ", _OPENED: "+", _CLOSED: "-"}
_COLOURS: Final = {_PRESENT: None, _OPENED: "green", _CLOSED: "red"}

_Tell = Callable[[str, ListeningPort], None]


@click.command("ports")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an array; a line per change.")
@click.option("--watch", is_flag=True, help="Go on and print what changes, until Ctrl-C.")
def ports_command(as_json: bool, watch: bool) -> None:
    """List the ports that are listened on, with workspace and process; connects to none."""
    if are_workspaces_hidden():
        warn(f"cmux-proxy: WARNING: {WORKSPACES_HIDDEN}")
    if watch:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(_tell_json if as_json else _teller_of_lines())
        return
    found = _look(ListenerScanner())
    if as_json:
        say(json.dumps([_fields(each) for each in found], indent=2))
    elif found:
        print_table([_TITLES, *(_row(each) for each in found)])


def _look(survey: ListenerScanner) -> list[ListeningPort]:
    found = survey.scan()
    if not survey.is_complete:
        raise click.ClickException(LISTENERS_UNKNOWN)
    return found


def _watch(tell: _Tell) -> None:
    survey = ListenerScanner()
    before: dict[tuple[object, ...], ListeningPort] = {}
    opened = _PRESENT
    while True:
        now = {_identity(each): each for each in _look(survey)}
        for identity, each in before.items():
            if identity not in now:
                tell(_CLOSED, each)
        for identity, each in now.items():
            if identity not in before:
                tell(opened, each)
        before, opened = now, _OPENED
        # The kernel tells nobody that somebody listens.
        time.sleep(_LOOK_AFTER)


def _identity(each: ListeningPort) -> tuple[object, ...]:
    """A process that becomes another program keeps its sockets."""
    return each.port, each.address, each.workspace, each.pid


def _tell_json(event: str, each: ListeningPort) -> None:
    say(json.dumps({"event": event, **_fields(each)}))


def _teller_of_lines() -> _Tell:
    """Print the titles; return what prints a line for each change below them."""
    columns = Columns.of([("", *_TITLES), ("+", *_USUAL)])
    print_line(columns.line(("", *_TITLES)))

    def tell(event: str, each: ListeningPort) -> None:
        print_line(columns.line((_SIGNS[event], *_row(each))), _COLOURS[event])

    return tell


def _fields(each: ListeningPort) -> dict[str, Any]:
    return {
        "port": each.port,
        "address": each.address,
        "family": each.family,
        "workspace": each.workspace,
        "pid": each.pid,
        "command": each.command,
    }


def _row(each: ListeningPort) -> tuple[str, ...]:
    pid = "-" if each.pid is None else str(each.pid)
    workspace, command = each.workspace or "-", each.command or "-"
    return str(each.port), each.address, each.family, workspace, pid, command
