"""The command line: arguments, CMUX_* variables and a file of flags -> Config; exit statuses."""

import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

from cmux_proxy._build import __version__, best_loop, build_name
from cmux_proxy.commands.output import (
    discard_output,
    escape_unencodable,
    is_output_error,
    warn,
)
from cmux_proxy.commands.subcommands import Subcommands
from cmux_proxy.config.address import Address
from cmux_proxy.config.click_options import server_options, write_groups
from cmux_proxy.config.config_file import FileValues, bad_value
from cmux_proxy.config.environment import choose_variables, unknown_variables
from cmux_proxy.config.options import config_from, flag_of
from cmux_proxy.config.proxy_config import Config
from cmux_proxy.config.token_file import Tokens
from cmux_proxy.errors import CertificateError, ConfigError, ListenError
from cmux_proxy.server.inherited import take_listen_fds
from cmux_proxy.server.line_stream import LineStream
from cmux_proxy.server.public_bind import is_admin_unprotected, unprotected_addresses

_EXIT_FAILURE = 1
_STANDARD_ERROR = 2

_log = logging.getLogger("cmux_proxy")


class _Proxy(click.Group):
    """Serves if no subcommand is named; its help has the flags in groups."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the server's variables only for the commands that need them."""
        _, arguments, _ = self.make_parser(ctx).parse_args(list(args))
        choose_variables(ctx, self.commands, arguments)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one section per group."""
        write_groups(
            formatter, {param.name: param.get_help_record(ctx) for param in self.get_params(ctx)}
        )
        self.format_commands(ctx, formatter)


def print_version(context: click.Context, _option: click.Parameter, is_wanted: bool) -> None:
    """Print the version, the build and the event loop of `--loop auto`, and exit, if wanted."""
    if is_wanted and not context.resilient_parsing:
        click.echo(f"cmux-proxy {__version__} ({build_name()}, {best_loop()})")
        context.exit()


@click.group(
    cls=_Proxy,
    commands=Subcommands(),
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="A flag overrides its variable, which overrides the file, which overrides the default.",
)
@server_options
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Show the version and exit.",
)
@click.pass_context
def proxy_command(context: click.Context, /, **values: Any) -> int:
    """One port in front of every local port.

    A request names its port in a header: X-Cmux-Port-Internal: 3000
    """
    if context.invoked_subcommand is not None:
        _restore_keyboard_interrupt()
        return 0
    inherited = take_listen_fds(os.environ)
    if context.get_parameter_source("listen") is ParameterSource.DEFAULT:
        if inherited.problem:
            raise ListenError("LISTEN_FDS", inherited.problem)
        if inherited.descriptors:
            values["listen"] = [[f"fd://{number}" for number in inherited.descriptors]]
    try:
        return _serve(config_from(values), inherited.descriptors, _warnings(values))
    except CertificateError:
        raise
    except ConfigError as error:
        raise _usage_error(context, error) from None


def _restore_keyboard_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, which subcommands expect, unless it is ignored."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _warnings(values: Mapping[str, object]) -> Iterator[str]:
    """Yield warnings about the sources of the settings: variables and the file of tokens."""
    unknown = unknown_variables(os.environ)
    if unknown:
        yield f"unknown variables: {', '.join(unknown)}"
    tokens = values["auth_token_file"]
    if isinstance(tokens, Tokens) and tokens.warning:
        yield tokens.warning


def _serve(config: Config, inherited: Sequence[int], warnings: Iterable[str]) -> int:
    logging.basicConfig(
        level=config.log_level.upper(),
        format="cmux-proxy: %(levelname)s: %(message)s",
        stream=LineStream(sys.stderr),
    )
    for warning in warnings:
        _log.warning("%s", warning)
    for number in sorted(set(inherited).difference(config.descriptors())):
        _log.warning("an inherited socket is not in --listen: fd://%d", number)
    from cmux_proxy.server.launch import run

    return run(config, partial(announce, config))


def _usage_error(context: click.Context, error: ConfigError) -> click.UsageError:
    """Return an error that names the flag, or the key in the file, that set the field."""
    flag = flag_of(error.field)
    if flag is None:
        return click.UsageError(f"Invalid value for {error.field!r}: {error.reason}")
    is_from_file = context.get_parameter_source(flag.parameter) is ParameterSource.DEFAULT_MAP
    if is_from_file and isinstance(context.default_map, FileValues):
        return bad_value(flag, error.reason, context.default_map.path)
    return click.UsageError(f"Invalid value for {'--' + flag.name!r}: {error.reason}")


def announce(config: Config, addresses: Sequence[Address], loop_name: str) -> None:
    """Print the bound addresses and the version; warn of addresses without protection."""
    output = LineStream(sys.stdout)
    for address in addresses:
        output.write(f"listening on {address}\n")
    exposed = unprotected_addresses(addresses, config.access, config.tls)
    if exposed:
        _log.warning(
            "every client that can reach %s can reach every port of this machine; restrict access "
            "with --auth-token-file, --allow-port or --allow-client, or listen on 127.0.0.1",
            ", ".join(map(str, exposed)),
        )
    if config.tls.client_ca is not None and not config.tls.refuses_plain():
        _log.warning(
            "clients without a certificate can use plain HTTP, in spite of --tls-client-ca; "
            "--plain-text refuse prevents it"
        )
    admin = config.observability.admin
    if admin is not None and is_admin_unprotected(Address.parse(admin), config.access):
        _log.warning(
            "every client that can reach %s can see all connections and listening ports; restrict "
            "access with --auth-token-file, or set --admin to an address on 127.0.0.1",
            admin,
        )
    workers = f", {config.workers} workers" if config.workers > 1 else ""
    output.write(f"cmux-proxy {__version__} ({build_name()}, {loop_name}{workers})\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status. Errors are one line on standard error."""
    _fill_standard_streams()
    escape_unencodable()
    try:
        result = proxy_command.main(
            args=None if arguments is None else list(arguments),
            prog_name="cmux-proxy",
            standalone_mode=False,
        )
    except click.ClickException as error:
        return _report_error(error.format_message(), error.exit_code)
    except CertificateError as error:
        return _report_error(error.reason, _EXIT_FAILURE)
    except ListenError as error:
        return _report_error(str(error), _EXIT_FAILURE)
    except click.Abort:
        return _report_error("interrupted", _EXIT_FAILURE)
    except OSError as error:
        if not is_output_error(error):
            raise
        discard_output()
        return _report_error(f"cannot write to standard output: {error.strerror}", _EXIT_FAILURE)
    return result if isinstance(result, int) else 0


def _fill_standard_streams() -> None:
    """Open closed standard streams on /dev/null.

    Otherwise a connection could get the descriptor of one, and the output to it.
    """
    names = [name for name in ("stdin", "stdout", "stderr") if getattr(sys, name) is None]
    if names:
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
            pass
        os.close(descriptor)
    for name in names:
        stream = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
        setattr(sys, name, stream)


def _report_error(text: str, status: int) -> int:
    line = " ".join(text.split())
    warn(f"cmux-proxy: error: {line}")
    return status
