"""Random programs in which descriptors close, and open again as something else, within a batch.

`make fuzz` plays many more of them, with AddressSanitizer.
"""

import pytest

pytest.importorskip("cmux_proxy.net._reactor")

from tests.helpers.native import HOSTINGS

program = pytest.importorskip("fuzz.churn.program", reason="fuzzing is not part of the package")

__all__ = ["HOSTINGS"]


@pytest.mark.parametrize("number", range(20))
async def test_descriptors_are_used_again_and_no_stream_notices(number: int) -> None:
    await program.play(f"test {number}")
