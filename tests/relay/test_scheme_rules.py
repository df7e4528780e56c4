"""Which targets are spoken to with TLS; without sockets."""

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
        assert with_scheme(Target("a", port), None, RULES) == Target("a", port, scheme)
    assert with_scheme(PLAIN, "http", RULES) is PLAIN
    assert with_scheme(PLAIN, "https", None) == HTTPS
    assert with_scheme(PLAIN, None, None) is PLAIN


def test_a_target_of_the_rules_is_one_object_as_long_as_there_are_few() -> None:
    rules = SchemeRules.from_config(Upstreams(https_ports=["1-65535"]))
    first = with_scheme(Target("a", 1), None, rules)
    assert with_scheme(Target("a", 1), None, rules) is first
    for port in range(2, scheme_rules._MAX_CACHED + 3):
        with_scheme(Target("a", port), None, rules)
    again = with_scheme(Target("a", 1), None, rules)
    assert again == first
    assert again is not first


def test_a_target_keeps_its_class() -> None:
    target = with_scheme(HostTarget("a", 8444), None, RULES)
    assert isinstance(target, HostTarget)
    assert target == HTTPS


def test_a_tunnel_has_no_tls_of_the_proxy() -> None:
    assert plain(HTTPS) == PLAIN
    assert plain(PLAIN) is PLAIN
