"""Checks a route from end to end, and compares it with what listens on this machine.

Knows what each check sends and what the response means. Neighbours: `check_plan.py` has the
requests, `check_result.py` the results, `probe.py` sends.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from cmux_proxy.client.check_plan import Route
from cmux_proxy.client.check_result import (
    NOTE,
    OK,
    PROBLEM,
    CheckResult,
    describe_status,
    milliseconds,
    no_response,
    refused_by_proxy,
)
from cmux_proxy.client.probe import NoResponse, ProbeResponse, send_probe
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

_START_PROXY: Final = "start it: cmux-proxy --listen 127.0.0.1:8080"
_REFUSED: Final = "connection_refused"
_LISTENS_HERE: Final = (
    "a program listens here: does the proxy run in a container, or with --upstream-host?"
)
_HANGS: Final = "check whether the service hangs; --timeout waits longer"
_FLUSH: Final = "let the service flush its output"
_SWITCHING_PROTOCOLS: Final = 101
_MAX_UPGRADE_TIMEOUT: Final = 3.0
_BOTH_FLAGS: Final = "start the proxy with --host-header upstream --rewrite-origin"


class Checks:
    """The checks of one route; `timeout` is the longest time without a byte, in seconds."""

    def __init__(self, route: Route, timeout: float) -> None:
        self._route = route
        self._timeout = timeout
        self._listeners = find_listening_ports() if route.is_on_this_machine else []

    def run(self) -> Iterator[CheckResult]:
        """Yield the results; a problem ends them where further checks cannot succeed."""
        proxy = self.check_proxy()
        yield proxy
        if proxy.level != OK:
            if self._route.is_on_this_machine:
                yield self.check_bound(has_response=False)
            return
        try:
            local = send_probe(self._route.proxy, self._route.local_request(), self._timeout)
        except NoResponse as error:
            yield self.check_bound(has_response=False)
            yield no_response("route", error, _HANGS if error.is_timeout else "")
            return
        bound = self.check_bound(has_response=local.proxy_error is None)
        yield bound
        yield self.check_route(local, bound)
        if local.proxy_error is None:
            yield self.check_host(local)
            yield self.check_websocket()
            yield self.check_stream(local)

    def check_proxy(self) -> CheckResult:
        """Check that there is a proxy, and that it admits this client."""
        return check_proxy(self._route, self._timeout, self._listeners)

    def check_bound(self, has_response: bool) -> CheckResult:
        """Check that a program listens on the port where the proxy connects to."""
        route = self._route
        if not route.is_on_this_machine:
            return CheckResult(NOTE, "bound", f"{route.proxy} is another machine; check there")
        if route.workspace is not None and are_workspaces_hidden():
            return CheckResult(NOTE, "bound", WORKSPACES_HIDDEN)
        service = service_addresses(route.workspace)
        scanner = ListenerScanner()
        listeners = scanner.scan([service.namespace])
        if not scanner.is_complete:
            return CheckResult(NOTE, "bound", LISTENERS_UNKNOWN)
        matching = [
            listener for listener in listeners
            if listener.port == route.port and any(map(listener.covers, service.hosts))
        ]  # fmt: skip
        if matching:
            return _bound(matching)
        finding = f"nothing listens on port {route.port} of {' or '.join(service.hosts)}"
        if has_response:
            return CheckResult(NOTE, "bound", finding)
        return CheckResult(PROBLEM, "bound", finding, self._where_instead())

    def _where_instead(self) -> str:
        service = service_addresses(self._route.workspace)
        nearest = describe_nearest_listener(self._route.port, service, self._listeners)
        if nearest is not None:
            return nearest
        ports = describe_ports(self._listeners)
        return f"start the service or check the port; ports in use: {ports or 'none'}"

    def check_route(self, local: ProbeResponse, bound: CheckResult) -> CheckResult:
        """Check that the proxy forwards a response of the service."""
        if local.proxy_error is not None:
            result = refused_by_proxy("route", local)
            listens_here = bound.level == OK and local.proxy_error == _REFUSED
            return result._replace(remedy=_LISTENS_HERE) if listens_here else result
        text = f" ({local.text})" if local.status >= 400 and local.text else ""
        finding = f"GET {self._route.path} returns {local.status}{text}"
        return CheckResult(OK, "route", f"{finding} after {milliseconds(local.head_after)}")

    def check_host(self, local: ProbeResponse) -> CheckResult:
        """Check that the service accepts the Host to try."""
        route = self._route
        try:
            response = send_probe(route.proxy, route.host_request(), self._timeout)
        except NoResponse as error:
            return no_response("host", error, "check what the service does with that host")
        if response.proxy_error is not None:
            return refused_by_proxy("host", response, f"with Host {route.host} ")
        if response.status < 400 or response.status == local.status:
            return CheckResult(OK, "host", f"Host {route.host} returns {response.status}")
        finding = (
            f"Host {route.host} returns {describe_status(response)}, "
            f"{route.local_host} {local.status}"
        )
        remedy = f"{_BOTH_FLAGS}, or allow the host in the settings of the service"
        return CheckResult(PROBLEM, "host", finding, remedy)

    def check_websocket(self) -> CheckResult:
        """Check that an upgrade succeeds, with the Host to try too."""
        route = self._route
        # Servers without WebSockets refuse, close, or do not respond at all.
        timeout = min(self._timeout, _MAX_UPGRADE_TIMEOUT)
        try:
            local = send_probe(route.proxy, route.upgrade_request(is_local=True), timeout)
        except NoResponse as error:
            return _no_websocket(route, str(error))
        if local.status != _SWITCHING_PROTOCOLS:
            return _no_websocket(route, f"an upgrade returns {describe_status(local)}")
        try:
            request = route.upgrade_request(is_local=False)
            response = send_probe(route.proxy, request, self._timeout)
        except NoResponse as error:
            return no_response("websocket", error, _BOTH_FLAGS)
        if response.status == _SWITCHING_PROTOCOLS:
            return CheckResult(OK, "websocket", f"{route.path} upgrades: 101")
        finding = (
            f"Host and Origin {route.host} return {describe_status(response)}, "
            f"{route.local_host} 101"
        )
        return CheckResult(PROBLEM, "websocket", finding, _BOTH_FLAGS)

    def check_stream(self, local: ProbeResponse) -> CheckResult:
        """Check that the first byte of the body is forwarded without a delay."""
        if local.first_byte_after is None:
            finding = f"the response head arrived, but no body within {self._timeout:g} s"
            return CheckResult(PROBLEM, "stream", finding, self._find_delay(), is_timeout=True)
        if not local.has_body:
            return CheckResult(NOTE, "stream", f"GET {self._route.path} has no body; see --path")
        after = milliseconds(local.first_byte_after)
        return CheckResult(OK, "stream", f"the first byte of the body arrived after {after}")

    def _find_delay(self) -> str:
        """Send the request without the proxy, if possible, and return a remedy."""
        service = service_addresses(self._route.workspace)
        port = self._route.port
        listeners = [listener for listener in self._listeners if listener.port == port]
        if service.namespace.pid is not None or not listeners:
            return _FLUSH
        url = ProxyUrl(reached_host(listeners[0].address), port, is_tls=False)
        try:
            response = send_probe(url, self._route.local_request(), self._timeout)
        except NoResponse:
            return _FLUSH
        if response.first_byte_after is None:
            return f"the same happens without the proxy: {_FLUSH}"
        after = milliseconds(response.first_byte_after)
        return f"without the proxy it arrives after {after}: check what else is in between"


def check_proxy(route: Route, timeout: float, listeners: list[ListeningPort]) -> CheckResult:
    """Check that there is a proxy; `listeners` are those of this machine if it runs here."""
    try:
        response = send_probe(route.proxy, route.proxy_request(), timeout)
    except NoResponse as error:
        return no_response("proxy", error, _other_proxy(listeners) or _START_PROXY)
    if response.proxy_error is None:
        finding = f"{route.proxy} responds with {describe_status(response)}, but is no cmux-proxy"
        return CheckResult(PROBLEM, "proxy", finding, _other_proxy(listeners) or "check --proxy")
    if response.status != 400:
        return refused_by_proxy("proxy", response)
    return CheckResult(OK, "proxy", f"{route.proxy} is a cmux-proxy")


def _bound(listeners: Sequence[ListeningPort]) -> CheckResult:
    families = sorted({listener.family for listener in listeners})
    finding = f"{', '.join(map(describe_listener, listeners))}: {' and '.join(families)}"
    if all(listener.address == IPV6_LOOPBACK for listener in listeners):
        finding += " only; the proxy finds it, but other clients may need [::1]"
    return CheckResult(OK, "bound", finding)


def _other_proxy(listeners: list[ListeningPort]) -> str:
    """Return the flag that names a proxy of this machine, the empty string if there is none."""
    for proxy in find_proxies(listeners):
        return f"--proxy {ProxyUrl(reached_host(proxy.address), proxy.port, is_tls=False)}"
    return ""


def _no_websocket(route: Route, reason: str) -> CheckResult:
    return CheckResult(NOTE, "websocket", f"none at {route.path}, see --path: {reason}")
