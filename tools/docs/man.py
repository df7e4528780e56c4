"""Flags and subcommands -> cmux-proxy.1, the manual page, in man(7)."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click

from cmux_proxy import __version__
from cmux_proxy.cli import proxy_command as root
from cmux_proxy.config.options import GROUPS, Flag
from cmux_proxy.config.sections import TOKEN_VARIABLE

_NAME: Final = "cmux-proxy"
CHANGELOG: Final = Path(__file__).parent.parent.parent / "CHANGELOG.md"
_RELEASED: Final = re.compile(rf"## \[{re.escape(__version__)}\] - ([0-9-]+)")
_HEAD: Final = """\
.\\" Generated from the flags and subcommands by `make pages`; do not edit.
.TH CMUX\\-PROXY 1 "{date}" "cmux\\-proxy {version}" "User Commands"
.nh
.SH NAME
cmux\\-proxy \\- one port in front of every local port"""

DESCRIPTION: Final = [
    "A reverse proxy. Each request names its port in the header field X-Cmux-Port-Internal.",
    "It forwards HTTP/1.1, WebSocket and other upgrades, and any TCP protocol by CONNECT. Without "
    "a subcommand it runs the proxy.",
    "A flag overrides its variable, which overrides the file of --config, which overrides the "
    "default.",
]
_HTTP_PROXY: Final = (
    "The HTTP proxy through which connect, forward and doctor reach the URL, as with curl. Not "
    "used for a URL on the loopback."
)
_VARIABLES: Final = "Each flag names its variable. An empty variable counts as not set."
_FILES: Final = (
    "A file for --config is TOML; its keys are the flags of the proxy without their dashes. "
    "Switches are booleans, numbers and seconds may be numbers, lists are arrays. All other values "
    "are strings, as on the command line."
)
_STATUS: Final = {
    "0": "The proxy has drained after SIGTERM or SIGINT; a subcommand has succeeded.",
    "1": "An address cannot be bound, or a tunnel cannot be opened.",
    "2": "A flag, an argument, a variable or a key of the file cannot be used.",
    "124": "connect: no tunnel was opened in time. wait: nothing listens on the port.",
    "125": "run: the workspace cannot be made or entered.",
    "126, 127": "run: the command cannot be run, or is not found.",
    "130, 143": "A second SIGINT or SIGTERM has ended the proxy immediately.",
}
_EXAMPLES: Final = [
    "cmux-proxy --listen 127.0.0.1:8080",
    "curl -H 'X-Cmux-Port-Internal: 3000' http://127.0.0.1:8080/",
    "cmux-proxy forward 16379:6379 http://vm:8080",
    "ssh -o ProxyCommand='cmux-proxy connect 22 http://vm:8080' vm",
]


def man_page(description: Sequence[str] = DESCRIPTION, changelog: Path = CHANGELOG) -> str:
    """Return the page, with the date of the release in a changelog."""
    context = click.Context(root, info_name=_NAME, **root.context_settings)
    commands = [root.commands[name] for name in sorted(root.commands)]
    released = _RELEASED.search(changelog.read_text("utf-8"))
    parts = [
        _HEAD.format(date=released[1] if released else "", version=__version__),
        ".SH SYNOPSIS",
        *_paragraphs(f"{_bold(_NAME)} [{_italic('FLAG')}...]"),
        *(_synopsis(context, command) for command in commands),
        ".SH DESCRIPTION",
        *_paragraphs(*map(_plain, description)),
        ".SH OPTIONS",
        *_flags(),
        ".SS Other",
        *(
            _option(context, option)
            for option in root.get_params(context)
            if not _is_of_table(option)
        ),
        ".SH COMMANDS",
        *(part for command in commands for part in _section(context, command)),
        ".SH ENVIRONMENT",
        *_paragraphs(_plain(_VARIABLES)),
        _tagged(_bold(TOKEN_VARIABLE), _plain("A single token, if no file of tokens is given.")),
        _tagged(_bold("http_proxy, https_proxy, all_proxy, no_proxy"), _plain(_HTTP_PROXY)),
        ".SH FILES",
        *_paragraphs(_plain(_FILES)),
        ".SH EXIT STATUS",
        *(_tagged(_bold(status), _plain(text)) for status, text in _STATUS.items()),
        ".SH EXAMPLES",
        ".nf",
        *map(_plain, _EXAMPLES),
        ".fi",
    ]
    return "\n".join(parts) + "\n"


def _flags() -> Iterable[str]:
    for title, flags in GROUPS.items():
        yield f".SS {_plain(title)}"
        for flag in flags:
            yield _flag(flag)


def _flag(flag: Flag) -> str:
    context = click.Context(root)
    option = next(param for param in root.params if param.name == flag.parameter)
    text = f"{flag.help} Variable: {flag.variable}. Default: {flag.default_text}."
    return _tagged(_declared(context, option), _plain(text))


def _is_of_table(option: click.Parameter) -> bool:
    return any(option.name == flag.parameter for flags in GROUPS.values() for flag in flags)


def _option(context: click.Context, option: click.Parameter) -> str:
    record = option.get_help_record(context)
    return _tagged(_declared(context, option), _plain(record[1] if record else ""))


def _declared(context: click.Context, option: click.Parameter) -> str:
    names = ", ".join(_bold(name) for name in option.opts)
    is_switch = isinstance(option, click.Option) and (option.is_flag or option.count)
    return names if is_switch else f"{names} {_italic(option.make_metavar(context))}"


def _synopsis(context: click.Context, command: click.Command) -> str:
    below = click.Context(command, context, info_name=command.name)
    words = " ".join(_italic(word) for word in command.collect_usage_pieces(below))
    return f".br\n{_bold(f'{_NAME} {command.name}')} {words}"


def _section(context: click.Context, command: click.Command) -> Iterable[str]:
    below = click.Context(command, context, info_name=command.name)
    words = " ".join(command.collect_usage_pieces(below))
    yield f".SS {_plain(f'{command.name} {words}')}"
    yield from _paragraphs(*map(_plain, (command.help or "").split("\n\n")))
    for option in command.params:
        if isinstance(option, click.Option):
            yield _option(below, option)


def _tagged(tag: str, text: str) -> str:
    return f".TP\n{tag}\n{text}"


def _paragraphs(*texts: str) -> Iterable[str]:
    for number, text in enumerate(texts):
        yield f".PP\n{text}" if number else text


def _bold(text: str) -> str:
    return f"\\fB{_escaped(text)}\\fR"


def _italic(text: str) -> str:
    return f"\\fI{_escaped(text)}\\fR"


def _plain(text: str) -> str:
    """Return a text in lines that roff does not read as requests."""
    words = _escaped(" ".join(text.split()))
    lines = textwrap.wrap(words, 78, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{line}" if line[0] in ".'" else line for line in lines)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")
