"""CMUX_ variables that are set and unknown."""

import pytest

from cmux_proxy.config.environment import unknown_variables


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CMUX_LISTN", "CMUX_LISTN (did you mean CMUX_LISTEN?)"),
        ("CMUX_ALLOW_PORTS", "CMUX_ALLOW_PORTS (did you mean CMUX_ALLOW_PORT?)"),
        ("CMUX_ALOW_PORT", "CMUX_ALOW_PORT (did you mean CMUX_ALLOW_PORT?)"),
        ("CMUX_PROXY_LISTEN", "CMUX_PROXY_LISTEN (did you mean CMUX_LISTEN?)"),
        ("CMUX_TOKEN", "CMUX_TOKEN (did you mean CMUX_AUTH_TOKEN?)"),
        ("CMUX_COLOUR", "CMUX_COLOUR"),
        ("CMUX_", "CMUX_ (did you mean CMUX_TLS?)"),
    ],
)
def test_an_unknown_variable_is_named_with_the_most_similar(name: str, expected: str) -> None:
    assert unknown_variables({name: "3000", "PATH": "x"}) == [expected]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CMUX_LISTEN", ""),
        ("CMUX_CONFIG", "x"),
        ("CMUX_AUTH_TOKEN", "x"),
        ("CMUX_PROXY_COMPILE", "1"),
        ("CMUX_TEST_LOOPS", "asyncio"),
        ("CMUX_WORKSPACE_ID", "x"),
        ("CMUX_SOCKET_PATH", "x"),
        ("CMUX_PORT", "9100"),
        ("CMUX_PROXY_SERVICE_HOST", "10.0.0.1"),
        ("CMUX_PROXY_SERVICE_PORT_HTTP", "8080"),
        ("CMUX_PROXY_PORT", "tcp://10.0.0.1:8080"),
        ("CMUX_PROXY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("CMUXED", "x"),
    ],
)
def test_settings_and_variables_of_other_programs_are_known(name: str, value: str) -> None:
    assert unknown_variables({name: value}) == []
