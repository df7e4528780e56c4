"""What is read of the output of openssl s_time."""

import pytest

from bench.load.handshakes import handshakes_counts
from bench.load.scenarios import load_scenarios

SCENARIO = load_scenarios()["handshake-tls-c1"]
OUTPUT = """Collecting connection statistics for 1 seconds
***

290 connections in 0.27s; 1074.07 connections/user sec, bytes read 0
290 connections in {} real seconds, 0 bytes read per connection
"""


@pytest.mark.parametrize(("seconds", "microseconds"), [(2, 2e6), (0, 1e6)])
def test_connections_are_counted(seconds: int, microseconds: float) -> None:
    counts = handshakes_counts(OUTPUT.format(seconds), SCENARIO)
    assert counts == {"count": 290, "microseconds": microseconds}


def test_other_output_is_an_error() -> None:
    with pytest.raises(ValueError, match="not the output"):
        handshakes_counts("ERROR\nBIO_connect:Connection refused", SCENARIO)
