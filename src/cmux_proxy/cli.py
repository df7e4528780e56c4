"""argv and CMUX_* variables -> Config; exit codes; the only place that prints."""

import logging
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import get_args

import click

from cmux_proxy._build import __version__, build_name
from cmux_proxy.config import (
    DEFAULT_LISTEN,
    MOST_BUSY_POLL,
    Address,
    Config,
    LogLevel,
    LoopName,
    Timeouts,
)
from cmux_proxy.errors import ConfigError, ListenError
from cmux_proxy.server.supervisor import run

_EXIT_FAILURE = 1
_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>us|ms|s|)", re.ASCII)
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0}
_FLAGS = {"timeouts.connect": "--connect-timeout", "timeouts.drain": "--drain-timeout"}


class _AddressList(click.ParamType[list[str]]):
    """Addresses, comma-separated; in a variable too."""

    name = "ADDRESS"
    envvar_list_splitter = ","

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> list[str]:
        texts = [text.strip() for text in value.split(",")]
        for text in texts:
            try:
                Address.parse(text)
            except ConfigError as error:
                self.fail(error.reason, param, ctx)
        return texts


class _Duration(click.ParamType[float]):
    """A short time with its unit, in seconds; only 0 needs no unit."""

    name = "DURATION"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if not isinstance(value, str):
            return value
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is not a duration such as 50us or 1ms", param, ctx)
        seconds = float(match["number"]) * _UNITS[match["unit"]]
        if seconds and not match["unit"]:
            self.fail(f"{value!r} needs a unit: us, ms or s", param, ctx)
        if seconds > MOST_BUSY_POLL:
            self.fail(f"{value!r} is more than {MOST_BUSY_POLL * 1000:g}ms", param, ctx)
        return seconds


class _WorkerCount(click.ParamType[int]):
    """A number of processes, or as many as there are CPUs."""

    name = "COUNT"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        text = str(value)
        if text == "auto":
            return _usable_cpus()
        if not re.fullmatch(r"0{0,9}[1-9][0-9]{0,5}", text, re.ASCII):
            self.fail(f"{text!r} is neither a whole number of at least 1 nor auto", param, ctx)
        return int(text)


def _usable_cpus() -> int:
    """Return how many CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every flag beats its variable, and the variable beats the default.",
)
@click.option(
    "--listen",
    "listen",
    type=_AddressList(),
    multiple=True,
    envvar="CMUX_LISTEN",
    show_envvar=True,
    default=list(DEFAULT_LISTEN),
    show_default=",".join(DEFAULT_LISTEN),
    help="Address to listen on, IPv4:PORT or [IPv6]:PORT; repeatable, or comma-separated. "
    "Port 0 lets the system choose.",
)
@click.option(
    "--upstream-host",
    envvar="CMUX_UPSTREAM_HOST",
    show_envvar=True,
    show_default="127.0.0.1, and where that refuses ::1",
    help="Host whose ports are served, a name or an IP address.",
)
@click.option(
    "--connect-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=Timeouts().connect,
    envvar="CMUX_CONNECT_TIMEOUT",
    show_envvar=True,
    show_default=True,
    metavar="SECONDS",
    help="How long a connection to an upstream may take to come about.",
)
@click.option(
    "--drain-timeout",
    type=click.FloatRange(min=0),
    default=Timeouts().drain,
    envvar="CMUX_DRAIN_TIMEOUT",
    show_envvar=True,
    show_default=True,
    metavar="SECONDS",
    help="How long requests and tunnels may go on after SIGTERM or SIGINT.",
)
@click.option(
    "--loop",
    type=click.Choice(get_args(LoopName)),
    default="auto",
    envvar="CMUX_LOOP",
    show_envvar=True,
    show_default=True,
    help="Event loop; auto takes uvloop where it is installed.",
)
@click.option(
    "--busy-poll",
    type=_Duration(),
    default=0.0,
    envvar="CMUX_BUSY_POLL",
    show_envvar=True,
    show_default="0, off",
    help="How long to look for events without sleeping after something has arrived, such as 50us; "
    "at most 10ms. Saves wake-ups, at the price of CPU time.",
)
@click.option(
    "--log-level",
    type=click.Choice(get_args(LogLevel)),
    default="info",
    envvar="CMUX_LOG_LEVEL",
    show_envvar=True,
    show_default=True,
    help="Least level of what is logged to standard error.",
)
@click.option(
    "--workers",
    type=_WorkerCount(),
    metavar="N|auto",
    default=1,
    envvar="CMUX_WORKERS",
    show_envvar=True,
    show_default=True,
    help="How many processes share the addresses; auto takes as many as there are CPUs to run on.",
)
@click.version_option(__version__, "--version", message=f"cmux-proxy %(version)s ({build_name()})")
def _command(
    listen: Sequence[list[str]],
    upstream_host: str | None,
    connect_timeout: float,
    drain_timeout: float,
    loop: LoopName,
    busy_poll: float,
    log_level: LogLevel,
    workers: int,
) -> int:
    """One port in front of every local port.

    A request names the port it is for: X-Cmux-Port-Internal: 3000
    """
    config = Config(
        listen=[address for addresses in listen for address in addresses],
        upstream_host=upstream_host,
        timeouts=Timeouts(connect=connect_timeout, drain=drain_timeout),
        loop=loop,
        busy_poll=busy_poll,
        log_level=log_level,
        workers=workers,
    )
    logging.basicConfig(
        level=log_level.upper(), format="cmux-proxy: %(levelname)s: %(message)s", stream=sys.stderr
    )
    return run(config, partial(_announce, workers))


def _announce(workers: int, addresses: Sequence[Address], loop_name: str) -> None:
    for address in addresses:
        click.echo(f"listening on {address}")
    several = f", {workers} workers" if workers > 1 else ""
    click.echo(f"cmux-proxy {__version__} ({build_name()}, {loop_name}{several})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status. Errors are one line on standard error."""
    try:
        result = _command.main(
            args=None if arguments is None else list(arguments),
            prog_name="cmux-proxy",
            standalone_mode=False,
        )
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code)
    except ConfigError as error:
        flag = _FLAGS.get(error.field) or "--" + error.field.replace("_", "-")
        return _complain(f"Invalid value for {flag!r}: {error.reason}", click.UsageError.exit_code)
    except ListenError as error:
        return _complain(str(error), _EXIT_FAILURE)
    except click.Abort:
        return _complain("interrupted", _EXIT_FAILURE)
    return result if isinstance(result, int) else 0


def _complain(text: str, status: int) -> int:
    line = " ".join(text.split())
    click.echo(f"cmux-proxy: error: {line}", err=True)
    return status
