"""The static table (RFC 7541 appendix A)."""

from hpack.table import HeaderTable

from cmux_proxy.http2.static_table import STATIC_SIZE, static_entries


def test_the_entries_are_those_of_the_rfc() -> None:
    assert static_entries() == list(HeaderTable.STATIC_TABLE)
    assert len(static_entries()) == STATIC_SIZE
