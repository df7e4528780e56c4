"""With which scheme an upstream is spoken to: what the request asks for, or what its port has.

A tunnel of CONNECT carries bytes, so that its client speaks TLS itself. Neighbours:
`request_options.py` reads X-Cmux-Scheme, `upstream/upstream_tls.py` has the sessions.
"""

from typing import Final, Self

from cmux_proxy.config.upstream_section import Upstreams
from cmux_proxy.config.values import PortRange
from cmux_proxy.routing.target import HTTP, HTTPS, Target

_MAX_CACHED: Final = 4096


class SchemeRules:
    """The ports that are spoken to with TLS."""

    __slots__ = ("_cache", "_ports")

    def __init__(self, ports: list[PortRange]) -> None:
        self._ports = ports
        # One object per target, because the pool finds the same object sooner than an equal one.
        self._cache: dict[Target, Target] = {}

    @classmethod
    def from_config(cls, config: Upstreams) -> Self | None:
        """Return the rules of a configuration; None where there are none."""
        ports = [PortRange.parse(text) for text in config.https_ports]
        return cls(ports) if ports else None

    def apply(self, target: Target) -> Target:
        """Return a target whose request asks for no scheme."""
        if target not in self._cache:
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            is_https = any(ports.first <= target.port <= ports.last for ports in self._ports)
            self._cache[target] = target._replace(scheme=HTTPS) if is_https else target
        return self._cache[target]


def with_scheme(target: Target, asked: str | None, rules: SchemeRules | None) -> Target:
    """Return the target with the scheme that the request asks for, or that the rules give."""
    if asked is not None:
        return target if target.scheme == asked else target._replace(scheme=asked)
    return target if rules is None else rules.apply(target)


def plain(target: Target) -> Target:
    """Return the target without TLS."""
    return target if target.scheme == HTTP else target._replace(scheme=HTTP)
