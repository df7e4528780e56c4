"""Checks a route from end to end, and compares it with what listens on this machine.

Knows what each check asks and what its answer means. Neighbours: `check_plan.py` has the questions,
`check_result.py` the results, `probe.py` asks.
"""

from collections.abc import Iterator
from typing import Final

from cmux_proxy.client.check_plan import Route
from cmux_proxy.client.check_result import (
    NOTE,
    OK,
    PROBLEM,
    CheckResult,
    milliseconds,
    refused_by_proxy,
    status_told,
    unanswered,
)
from cmux_proxy.client.probe import Answer, NoAnswer, ask
from cmux_proxy.client.proxy_url import ProxyUrl
from cmux_proxy.machine.describe import describe_listener, describe_nearest_listener, describe_ports
from cmux_proxy.machine.listening import (
    LISTENERS_UNKNOWN,
    ListenerScanner,
    ListeningPort,
    find_listening_ports,
)
from cmux_proxy.machine.namespaces import (
    WORKSPACES_HIDDEN,
    are_workspaces_hidden,
    service_addresses,
)
from cmux_proxy.machine.running_proxies import find_proxies
from cmux_proxy.net.loopback import IPV6_LOOPBACK, reached_host

_START_IT: Final = "start it: cmux-proxy --listen 127.0.0.1:8080"
_REFUSED: Final = "connection_refused"
_NOT_THERE: Final = "it listens here: is that proxy in a container, or has it an --upstream-host?"
_HANGS: Final = "see whether the service hangs; --timeout waits longer"
_SWITCHED: Final = 101
_UPGRADES_WITHIN: Final = 3.0
_BOTH_FLAGS: Final = "start the proxy with --host-header upstream --rewrite-origin"


class Checks:
    """The checks of one route; `timeout` is the longest silence in any of them, in seconds."""

    def __init__(self, route: Route, timeout: float) -> None:
        self._route = route
        self._timeout = timeout
        self._found = find_listening_ports() if route.is_of_this_machine else []

    def run(self) -> Iterator[CheckResult]:
        """Yield what each check finds; what cannot go well any more is left out."""
        proxy = self.proxy()
        yield proxy
        if proxy.kind != OK:
            if self._route.is_of_this_machine:
                yield self.bound(has_answered=False)
            return
        try:
            usual = ask(self._route.proxy, self._route.usual(), self._timeout)
        except NoAnswer as error:
            yield self.bound(has_answered=False)
            yield unanswered("route", error, _HANGS if error.is_timeout else "")
            return
        bound = self.bound(has_answered=usual.proxy_error is None)
        yield bound
        yield self.route(usual, bound)
        if usual.proxy_error is None:
            yield self.host(usual)
            yield self.websocket()
            yield self.stream(usual)

    def proxy(self) -> CheckResult:
        """Is there a proxy, and does it let one in?"""
        return check_proxy(self._route, self._timeout, self._found)

    def bound(self, has_answered: bool) -> CheckResult:
        """Does something listen on the port where the proxy looks, and in which family?"""
        route = self._route
        if not route.is_of_this_machine:
            return CheckResult(NOTE, "bound", f"{route.proxy} is another machine; look there")
        if route.workspace is not None and are_workspaces_hidden():
            return CheckResult(NOTE, "bound", WORKSPACES_HIDDEN)
        place = service_addresses(route.workspace)
        survey = ListenerScanner()
        found = survey.scan([place.namespace])
        if not survey.is_complete:
            return CheckResult(NOTE, "bound", LISTENERS_UNKNOWN)
        there = [
            each for each in found if each.port == route.port and any(map(each.covers, place.hosts))
        ]
        if not there:
            kind = NOTE if has_answered else PROBLEM
            says = f"nothing listens on port {route.port} of {' or '.join(place.hosts)}"
            return CheckResult(kind, "bound", says, "" if has_answered else self._instead())
        families = sorted({each.family for each in there})
        says = f"{', '.join(map(describe_listener, there))}: {' and '.join(families)}"
        if all(each.address == IPV6_LOOPBACK for each in there):
            says += " only, which the proxy finds; others may have to ask for [::1]"
        return CheckResult(OK, "bound", says)

    def _instead(self) -> str:
        place = service_addresses(self._route.workspace)
        instead = describe_nearest_listener(self._route.port, place, self._found)
        if instead is not None:
            return instead
        ports = describe_ports(self._found)
        return f"start the service or check the port; ports in use: {ports or 'none'}"

    def route(self, usual: Answer, bound: CheckResult) -> CheckResult:
        """Does the proxy get an answer of the service?"""
        if usual.proxy_error is not None:
            verdict = refused_by_proxy("route", usual)
            is_bound = bound.kind == OK and usual.proxy_error == _REFUSED
            return verdict._replace(remedy=_NOT_THERE) if is_bound else verdict
        text = f" ({usual.text})" if usual.status >= 400 and usual.text else ""
        says = f"GET {self._route.path} gets {usual.status}{text}"
        return CheckResult(OK, "route", f"{says} after {milliseconds(usual.head_after)}")

    def host(self, usual: Answer) -> CheckResult:
        """Does the service take the host for its own?"""
        route = self._route
        try:
            foreign = ask(route.proxy, route.foreign(), self._timeout)
        except NoAnswer as error:
            return unanswered("host", error, "see what the service does with that host")
        if foreign.proxy_error is not None:
            return refused_by_proxy("host", foreign, f"with Host {route.host} ")
        if foreign.status < 400 or foreign.status == usual.status:
            return CheckResult(OK, "host", f"Host {route.host} gets {foreign.status}")
        says = f"Host {route.host} gets {status_told(foreign)}"
        remedy = f"{_BOTH_FLAGS}, or allow the host in the service's own settings"
        return CheckResult(PROBLEM, "host", f"{says}, {route.usual_host} {usual.status}", remedy)

    def websocket(self) -> CheckResult:
        """Does an upgrade come through, with the host of the page too?"""
        route = self._route
        # Where there is no WebSocket, servers refuse, close, or say nothing at all.
        patience = min(self._timeout, _UPGRADES_WITHIN)
        try:
            usual = ask(route.proxy, route.upgrade(is_foreign=False), patience)
        except NoAnswer as error:
            return _no_socket(route, str(error))
        if usual.status != _SWITCHED:
            return _no_socket(route, f"an upgrade gets {status_told(usual)}")
        try:
            foreign = ask(route.proxy, route.upgrade(is_foreign=True), self._timeout)
        except NoAnswer as error:
            return unanswered("websocket", error, _BOTH_FLAGS)
        if foreign.status == _SWITCHED:
            return CheckResult(OK, "websocket", f"{route.path} switches: 101")
        says = f"Host and Origin {route.host} get {status_told(foreign)}, {route.usual_host} 101"
        return CheckResult(PROBLEM, "websocket", says, _BOTH_FLAGS)

    def stream(self, usual: Answer) -> CheckResult:
        """Does the body begin as soon as there is something of it?"""
        if usual.first_byte_after is None:
            says = f"the head came, and nothing of the body within {self._timeout:g} s"
            return CheckResult(PROBLEM, "stream", says, self._who_holds_it(), is_timeout=True)
        if not usual.has_body:
            return CheckResult(NOTE, "stream", f"GET {self._route.path} has no body; see --path")
        after = milliseconds(usual.first_byte_after)
        return CheckResult(OK, "stream", f"the first byte of the body came after {after}")

    def _who_holds_it(self) -> str:
        """Ask without the proxy, where that is possible, and see whether it makes a difference."""
        it_flushes = "have the service flush what it has written"
        place = service_addresses(self._route.workspace)
        there = [each for each in self._found if each.port == self._route.port]
        if place.namespace.pid is not None or not there:
            return it_flushes
        direct = ProxyUrl(reached_host(there[0].address), self._route.port, is_tls=False)
        try:
            answer = ask(direct, self._route.usual(), self._timeout)
        except NoAnswer:
            return it_flushes
        if answer.first_byte_after is None:
            return f"so it is without the proxy: {it_flushes}"
        after = milliseconds(answer.first_byte_after)
        return f"without the proxy it comes after {after}: look at what else is between"


def check_proxy(route: Route, timeout: float, found: list[ListeningPort]) -> CheckResult:
    """Ask for what only a proxy answers; `found` is what listens on its machine, if known."""
    try:
        answer = ask(route.proxy, route.probe(), timeout)
    except NoAnswer as error:
        return unanswered("proxy", error, _where_else(found) or _START_IT)
    if answer.proxy_error is None:
        says = f"{route.proxy} answers {status_told(answer)}, but not as a cmux-proxy"
        return CheckResult(PROBLEM, "proxy", says, _where_else(found) or "check --proxy")
    if answer.status != 400:
        return refused_by_proxy("proxy", answer)
    return CheckResult(OK, "proxy", f"{route.proxy} is a cmux-proxy")


def _where_else(found: list[ListeningPort]) -> str:
    """Return how to reach a proxy that does listen, the empty string if there is none."""
    for each in find_proxies(found):
        return f"--proxy {ProxyUrl(reached_host(each.address), each.port, is_tls=False)}"
    return ""


def _no_socket(route: Route, says: str) -> CheckResult:
    return CheckResult(NOTE, "websocket", f"none at {route.path}, see --path: {says}")
