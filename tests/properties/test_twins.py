"""The lines compiled and the lines in Python say the same of any bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.http1 import lines
from tests.helpers.grammars import mutated, requests, responses

compiled = pytest.importorskip("cmux_proxy.http1._lines", reason="this is the pure build")

KINDS = {b"host": 1, b"connection": 2, b"te": 3, b"content-length": 4, b"upgrade": 5}
FAMILIES = st.sampled_from([b"", b"x-cmux-"])
MESSAGES = st.one_of(mutated(requests(), most=8), mutated(responses(), most=8), st.binary())


@given(MESSAGES, st.integers(0, 60))
def test_they_agree_on_ends_and_start_lines(data: bytes, searched: int) -> None:
    end = lines.head_end(data, searched)
    assert compiled.head_end(data, searched) == end
    assert compiled.request_head(data, end) == lines.request_head(data, end)
    assert compiled.response_head(data, end) == lines.response_head(data, end)


@given(MESSAGES, FAMILIES)
def test_they_agree_on_header_sections(data: bytes, family: bytes) -> None:
    ours = compiled.FieldLines(KINDS, family)
    theirs = lines.FieldLines(KINDS, family)
    for start in (0, data.find(b"\n") + 1):
        rest = data[start:]
        section = rest[: rest.find(b"\r\n\r\n") + 4]
        assert ours.find(rest) == theirs.find(rest)
        assert ours.find(section) == theirs.find(section)
