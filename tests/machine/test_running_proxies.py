"""Which listeners are proxies."""

import pytest

from cmux_proxy.machine.listening import ListeningPort
from cmux_proxy.machine.running_proxies import find_proxies, find_public_proxies


@pytest.mark.parametrize(
    ("address", "command", "is_proxy", "is_reachable"),
    [
        ("0.0.0.0", "python3 -m cmux_proxy", True, True),
        ("::", "/usr/bin/python3 /usr/bin/cmux-proxy --listen [::]:80", True, True),
        ("10.0.0.1", "cmux-proxy", True, True),
        ("127.0.0.1", "cmux-proxy", True, False),
        ("127.18.0.1", "cmux-proxy", True, False),
        ("::1", "cmux-proxy", True, False),
        ("0.0.0.0", "/venv/bin/python3.13 -P -m cmux_proxy --workers 2", True, True),
        ("0.0.0.0", "python cmux-proxy-0.1.0.pyz", True, True),
        ("0.0.0.0", "cmux-proxy forward 1 http://vm", False, False),
        ("0.0.0.0", "python3 -c serve sh python3 -m cmux_proxy", False, False),
        ("0.0.0.0", "vim /etc/cmux-proxy.toml", False, False),
        ("0.0.0.0", "sshd", False, False),
        ("0.0.0.0", None, False, False),
    ],
)
def test_a_proxy_is_recognized_by_its_command_line(
    address: str, command: str | None, is_proxy: bool, is_reachable: bool
) -> None:
    listener = ListeningPort(8080, address, None, 1, command)
    assert find_proxies([listener]) == ([listener] if is_proxy else [])
    assert find_public_proxies([listener]) == ([listener] if is_reachable else [])
