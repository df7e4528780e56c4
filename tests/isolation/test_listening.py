"""The ports that are listened on."""

import contextlib
import socket
from pathlib import Path

import pytest

from cmux_proxy.isolation import listening
from cmux_proxy.isolation.listening import listening_ports


def test_ports_of_both_families_are_found_while_they_are_listened_on() -> None:
    with contextlib.ExitStack() as stack:
        one, other, silent = (
            stack.enter_context(socket.socket(family))
            for family in (socket.AF_INET, socket.AF_INET6, socket.AF_INET)
        )
        one.bind(("127.0.0.1", 0))
        other.bind(("::1", 0))
        silent.bind(("127.0.0.1", 0))
        one.listen()
        other.listen()
        with socket.create_connection(one.getsockname()) as client:
            ports = listening_ports()
            assert ports == sorted(set(ports))
            assert {one.getsockname()[1], other.getsockname()[1]} <= set(ports)
            assert not {silent.getsockname()[1], client.getsockname()[1]} & set(ports)


def test_there_may_be_no_ipv6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "tcp"
    table.write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000\n"
        "   1: 00000000:0016 00000000:0000 0A 00000000:00000000\n"
        "   2: 0100007F:1F90 0100007F:C001 01 00000000:00000000\n"
        "   3: 0200007F:0BB8 00000000:0000 0A 00000000:00000000\n"
    )
    monkeypatch.setattr(listening, "_TABLES", (str(table), str(tmp_path / "tcp6")))
    assert listening_ports() == [22, 3000]
