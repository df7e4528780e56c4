"""The file of the access log: what is checked at the start."""

import socket
from pathlib import Path

import pytest

from cmux_proxy.config.sections import Observability
from cmux_proxy.errors import ConfigError
from cmux_proxy.server.access_log_file import check_file


@pytest.mark.parametrize("mode", ["errors", "all"])
def test_a_file_that_cannot_be_opened_is_an_error_at_the_start(mode: str, tmp_path: Path) -> None:
    observability = Observability(mode, "text", str(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        check_file(observability)
    assert caught.value.field == "observability.access_log_file"
    assert caught.value.reason == f"{tmp_path} cannot be opened: Is a directory"


def test_a_file_is_not_checked_where_the_log_is_off(tmp_path: Path) -> None:
    check_file(Observability("off", "text", str(tmp_path)))
    check_file(Observability("all"))


def test_a_socket_that_is_opened_as_a_file_is_an_error_with_a_remedy() -> None:
    ours, its = socket.socketpair()
    with ours, its, pytest.raises(ConfigError) as caught:
        check_file(Observability("all", "text", f"/proc/self/fd/{its.fileno()}"))
    assert caught.value.reason.endswith("it is a socket: use - for standard output")
