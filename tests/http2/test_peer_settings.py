"""The settings of a client (RFC 9113 section 6.5.2)."""

import pytest

from cmux_proxy.http2.error_codes import FLOW_CONTROL_ERROR, PROTOCOL_ERROR
from cmux_proxy.http2.errors import ConnectionFault
from cmux_proxy.http2.peer_settings import PeerSettings


def payload(*settings: tuple[int, int]) -> bytes:
    """Return the payload of a frame."""
    return b"".join(
        number.to_bytes(2, "big") + value.to_bytes(4, "big") for number, value in settings
    )


def test_values_that_matter_are_taken_in_order() -> None:
    settings = PeerSettings()
    assert (settings.initial_window, settings.table_size) == (65_535, 4096)
    settings.read(payload((4, 1), (1, 100), (4, 2), (1, 0), (1, 50)))
    assert settings.initial_window == 2
    assert (settings.smallest_table, settings.table_size) == (0, 50)
    settings.read(payload((1, 100_000)))
    assert (settings.smallest_table, settings.table_size) == (50, 4096)


def test_other_values_are_ignored() -> None:
    settings = PeerSettings()
    others = [(2, 0), (2, 1), (3, 0), (5, 16_384), (5, 16_777_215), (6, 0), (8, 1), (9, 1)]
    settings.read(payload(*others, (0, 7), (0x77, 7), (0xFFFF, 0xFFFFFFFF)))
    assert (settings.initial_window, settings.table_size) == (65_535, 4096)


@pytest.mark.parametrize(
    ("number", "value", "code"),
    [
        (2, 2, PROTOCOL_ERROR),
        (4, 0x80000000, FLOW_CONTROL_ERROR),
        (5, 16_383, PROTOCOL_ERROR),
        (5, 16_777_216, PROTOCOL_ERROR),
        (8, 2, PROTOCOL_ERROR),
        (9, 2, PROTOCOL_ERROR),
    ],
)
def test_a_value_out_of_range_ends_the_connection(number: int, value: int, code: int) -> None:
    with pytest.raises(ConnectionFault) as caught:
        PeerSettings().read(payload((3, 1), (number, value)))
    assert caught.value.code == code
