"""The names of error codes (RFC 9113 section 7)."""

import pytest
from h2.errors import ErrorCodes

from cmux_proxy.http2.error_codes import error_name


@pytest.mark.parametrize("code", ErrorCodes, ids=lambda code: code.name)
def test_every_code_has_its_name(code: ErrorCodes) -> None:
    assert error_name(code.value) == code.name


@pytest.mark.parametrize("code", [-1, 14, 0xFFFFFFFF])
def test_other_codes_have_one_name(code: int) -> None:
    assert error_name(code) == "OTHER"
