"""How an upstream is spoken to: what the request asks for, or what its port has.

A tunnel of CONNECT carries bytes, so that its client speaks TLS itself; an upgrade is one of
HTTP/1.1. Neighbours: `request_options.py` reads X-Cmux-Scheme and X-Cmux-Protocol,
`upstream/upstream_tls.py` has the sessions, `upstream/http2_upstream.py` the shared connections.
"""

from collections.abc import Sequence
from typing import Final, Self

from cmux_proxy.config.upstream_section import Upstreams
from cmux_proxy.config.values import PortRange
from cmux_proxy.routing.target import H2, H2C, HTTP, HTTPS, HostTarget, Target

_MAX_CACHED: Final = 4096


class SchemeRules:
    """The ports that are spoken to with TLS, and those that are spoken to in HTTP/2."""

    __slots__ = ("_cache", "_http2", "_https")

    def __init__(self, https_ports: Sequence[str], h2c_ports: Sequence[str]) -> None:
        self._https = [PortRange.parse(text) for text in https_ports]
        self._http2 = [PortRange.parse(text) for text in h2c_ports]
        # One object per target, because the pool finds the same object sooner than an equal one.
        # By whether the host named it, too: a HostTarget equals the Target.
        self._cache: dict[tuple[bool, Target], Target] = {}

    @classmethod
    def from_config(cls, config: Upstreams) -> Self | None:
        """Return the rules of a configuration; None where there are none."""
        if not config.https_ports and not config.h2c_ports:
            return None
        return cls(config.https_ports, config.h2c_ports)

    def apply(self, target: Target) -> Target:
        """Return a target whose request asks for nothing."""
        key = isinstance(target, HostTarget), target
        if key not in self._cache:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            is_https = target.has_tls() or _include(self._https, target.port)
            is_http2 = target.is_http2() or _include(self._http2, target.port)
            self._cache[key] = _spoken(target, is_https, is_http2)
        return self._cache[key]


def with_scheme(
    target: Target,
    scheme: str | None,
    wants_http2: bool,
    rules: SchemeRules | None,
    may_http2: bool = True,
) -> Target:
    """Return the target as the request asks for, or as the rules say.

    `scheme` is what the request asks for, and None if it does not. Unless it `may_http2`, it is
    spoken to in HTTP/1.1.
    """
    if rules is not None:
        target = rules.apply(target)
    has_tls = target.has_tls() if scheme is None else scheme == HTTPS
    return _spoken(target, has_tls, (wants_http2 or target.is_http2()) and may_http2)


def plain(target: Target) -> Target:
    """Return the target without TLS."""
    return _spoken(target, False, False)


def _include(ports: list[PortRange], port: int) -> bool:
    return any(each.first <= port <= each.last for each in ports)


def _spoken(target: Target, has_tls: bool, is_http2: bool) -> Target:
    schemes = (H2C, H2) if is_http2 else (HTTP, HTTPS)
    scheme = schemes[has_tls]
    return target if target.scheme == scheme else target._replace(scheme=scheme)
