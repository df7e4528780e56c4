"""Which targets are spoken to with TLS or in HTTP/2; without sockets."""

from cmux_proxy import Upstreams
from cmux_proxy.relay import scheme_rules
from cmux_proxy.relay.scheme_rules import SchemeRules, plain, with_scheme
from cmux_proxy.routing.target import HostTarget, Target

RULES = SchemeRules.from_config(Upstreams(https_ports=["5173", "8443-8445"]))
PLAIN = Target("a", 8444)
HTTPS = Target("a", 8444, "https")


def test_without_ports_there_are_no_rules() -> None:
    assert SchemeRules.from_config(Upstreams()) is None


def test_a_port_has_its_scheme_and_a_request_overrides_it() -> None:
    for port, scheme in ((5173, "https"), (8443, "https"), (8445, "https"), (8446, "http")):
        assert with_scheme(Target("a", port), None, False, RULES) == Target("a", port, scheme)
    assert with_scheme(PLAIN, "http", False, RULES) == PLAIN
    assert with_scheme(PLAIN, "https", False, None) == HTTPS
    assert with_scheme(PLAIN, None, False, None) is PLAIN


def test_a_target_of_the_rules_is_one_object_as_long_as_there_are_few() -> None:
    rules = SchemeRules.from_config(Upstreams(https_ports=["1-65535"]))
    first = with_scheme(Target("a", 1), None, False, rules)
    assert with_scheme(Target("a", 1), None, False, rules) is first
    for port in range(2, scheme_rules._MAX_CACHED + 3):
        with_scheme(Target("a", port), None, False, rules)
    again = with_scheme(Target("a", 1), None, False, rules)
    assert again == first
    assert again is not first


def test_http2_is_asked_for_or_that_of_the_port() -> None:
    rules = SchemeRules.from_config(Upstreams(https_ports=["2"], h2c_ports=["1-2"]))
    for port, expected in ((1, "h2c"), (2, "h2"), (3, "http")):
        target = Target("a", port)
        assert with_scheme(target, None, False, rules).scheme == expected
        # Upgrades are of HTTP/1.1.
        without = "https" if port == 2 else "http"
        assert with_scheme(target, None, True, rules, False).scheme == without
    assert with_scheme(PLAIN, None, True, None).scheme == "h2c"
    assert with_scheme(PLAIN, "https", True, None).scheme == "h2"
    assert with_scheme(Target("a", 1, "h2"), "http", False, None).scheme == "h2c"


def test_a_target_keeps_its_class() -> None:
    assert not isinstance(with_scheme(PLAIN, None, False, RULES), HostTarget)
    target = with_scheme(HostTarget("a", 8444), None, False, RULES)
    assert isinstance(target, HostTarget)
    assert target == HTTPS


def test_a_tunnel_has_no_tls_of_the_proxy() -> None:
    assert plain(HTTPS) == PLAIN
    assert plain(PLAIN) is PLAIN
