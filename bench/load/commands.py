"""The commands and configurations of the proxies, for a port, an upstream and a log.

Knows the options of each program. `programs` has the table of the proxies and finds them, `launch`
starts them.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from bench.load.compiler import compiled
from bench.load.scenarios import LogFormat

_RIVALS = Path(__file__).parents[1] / "rivals"
# One write to standard output, a file, for each request. A datagram to a syslog costs HAProxy more
# than that, and the syslog its own time.
_HAPROXY_LOG = "log stdout format raw local0\n    option httplog"


@dataclass(frozen=True)
class ProxySetup:
    """The port of a proxy, the port of its upstream, a directory for files, and what it logs.

    Clients speak HTTP/2 by prior knowledge if `is_http2`, or TLS if there is a certificate, whose
    file has the key too. No scenario has both.
    """

    port: int
    upstream: int
    directory: Path
    logs: LogFormat | None = None
    is_http2: bool = False
    certificate: Path | None = None


Command = Callable[[str, ProxySetup], list[str]]  # the program's path and its setup -> argv


def ours_with(*flags: str) -> Command:
    """Return the command of cmux-proxy with more flags; the program is its Python."""

    def command(python: str, setup: ProxySetup) -> list[str]:
        listen = ("--listen", f"127.0.0.1:{setup.port}")
        more = (*flags, *_tls_flags(setup), *_log_flags(setup))
        return [python, "-m", "cmux_proxy", *listen, *more]

    return command


def haproxy_with(template: str, buffer: int = 16384, polling: str = "") -> Command:
    """Return the command of HAProxy with a configuration, its size of buffers, and a setting."""

    def command(path: str, setup: ProxySetup) -> list[str]:
        log = _HAPROXY_LOG if setup.logs else ""
        config = fill(
            _RIVALS / template,
            setup,
            buffer=buffer,
            polling=polling,
            log=log,
            bind=_haproxy_bind(setup),
        )
        return [path, "-db", "-f", config]

    return command


def nginx(path: str, setup: ProxySetup) -> list[str]:
    """Return the command of nginx."""
    listen = "http2" if setup.is_http2 else "ssl" if setup.certificate else ""
    pem = setup.certificate
    tls = f"ssl_certificate {pem};\n        ssl_certificate_key {pem};" if pem else ""
    config = fill(_RIVALS / "nginx.conf.in", setup, listen=listen, tls=tls)
    return [path, "-e", "stderr", "-p", str(setup.directory), "-c", config]


def caddy(path: str, setup: ProxySetup) -> list[str]:
    """Return the command of Caddy."""
    pem = setup.certificate
    config = fill(
        _RIVALS / "Caddyfile.in",
        setup,
        protocols="h1 h2c" if setup.is_http2 else "h1",
        scheme="https" if pem else "http",
        tls=f"tls {pem} {pem}" if pem else "",
    )
    return [path, "run", "--adapter", "caddyfile", "--config", config]


def traefik_with(template: str) -> Command:
    """Return the command of Traefik with a configuration."""

    def command(path: str, setup: ProxySetup) -> list[str]:
        options = {
            "entryPoints.proxy.address": f"127.0.0.1:{setup.port}",
            "providers.file.filename": fill(_RIVALS / template, setup),
            "providers.file.watch": "false",
            "global.checkNewVersion": "false",
            "global.sendAnonymousUsage": "false",
            "log.level": "ERROR",
        }
        return [path, *(f"--{name}={value}" for name, value in options.items())]

    return command


def relay(_compiler: str, setup: ProxySetup) -> list[str]:
    """Return the command of relay.c, which is compiled first."""
    return [str(compiled("relay", setup.directory)), str(setup.port), str(setup.upstream)]


def access_log(directory: Path, port: int) -> Path:
    """Return the file of the access log of cmux-proxy on a port."""
    return directory / f"access-{port}.log"


def fill(template: Path, setup: ProxySetup, **more: int | str) -> str:
    """Write a configuration from its template, and return its path."""
    text = Template(template.read_text(encoding="utf-8"))
    config = setup.directory / f"{setup.port}-{template.stem}"
    config.write_text(text.substitute(asdict(setup) | more), encoding="utf-8")
    return str(config)


def _haproxy_bind(setup: ProxySetup) -> str:
    # Without these curves it takes P-256 only, and clients that have guessed X25519 start again.
    tls = f"ssl crt {setup.certificate} curves X25519:P-256" if setup.certificate else ""
    return "proto h2" if setup.is_http2 else tls


def _tls_flags(setup: ProxySetup) -> list[str]:
    pem = str(setup.certificate)
    return ["--tls-cert", pem, "--tls-key", pem] if setup.certificate else []


def _log_flags(setup: ProxySetup) -> list[str]:
    if setup.logs is None:
        return []
    file = str(access_log(setup.directory, setup.port))
    return ["--access-log", "all", "--log-format", setup.logs, "--access-log-file", file]
