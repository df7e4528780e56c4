"""Records: what is computed from their fields."""

from json.encoder import encode_basestring_ascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmux_proxy.observe.record import MAX_PATH, REQUEST, Record, fit, path_of, shorten


@pytest.mark.parametrize(
    ("host", "port", "upstream"),
    [("127.0.0.1", 80, "127.0.0.1:80"), ("::1", 3000, "[::1]:3000"), ("a.b", 1, "a.b:1"),
     ("", 0, "")],
)  # fmt: skip
def test_an_upstream_is_formatted_as_host_and_port(host: str, port: int, upstream: str) -> None:
    record = Record(REQUEST, "", 0.0)
    record.host, record.port = host, port
    assert record.upstream() == upstream


def test_times_are_from_the_beginning() -> None:
    record = Record(REQUEST, "", 10.0)
    assert (record.duration(), record.until_first_byte()) == (0.0, None)
    record.first_byte, record.ended = 10.5, 12.0
    assert (record.duration(), record.until_first_byte()) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/a?token=1", "/a"),
        (b"/a?b?c", "/a"),
        (b"http://h:1/a?b", "http://h:1/a"),
        (b"*", "*"),
        (b"h:1", "h:1"),
        (b"http://user:hush@h:1/a", "http://h:1/a"),
        (b"https://user:hush@h", "https://h"),
        (b"user:hush@h:1", "h:1"),
        (b"http://h/@a/b", "http://h/@a/b"),
        (b"/@vite/client", "/@vite/client"),
        (b"/to/http://a@b/", "/to/http://a@b/"),
    ],
)
def test_a_path_has_neither_a_query_nor_a_password(target: bytes, path: str) -> None:
    assert path_of(target) == path


@pytest.mark.parametrize(
    ("target", "path"),
    [
        pytest.param(b"/" + b"a" * 2047, "/" + "a" * 2047, id="the maximum"),
        pytest.param(b"/" + b"a" * 2048, "/" + "a" * 2044 + "...", id="a byte longer"),
        pytest.param(b"/a?" + b"q" * 9000, "/a", id="a long query"),
        pytest.param(b"http://u:" + b"p" * 9000 + b"@h/a", "http://h/a", id="a long password"),
        pytest.param(b"/\xe9" + b"a" * 9000, "/\xe9" + "a" * 2038 + "...", id="no ASCII"),
        pytest.param(b"/" + b'"' * 1023, "/" + '"' * 1023, id="the maximum of quotes"),
        pytest.param(b"/" + b'"' * 1024, "/" + '"' * 1022 + "...", id="a quote more"),
        pytest.param(b"/" + b"\xff" * 2000, "/" + "\xff" * 340 + "...", id="nothing but escapes"),
    ],
)
def test_a_path_that_is_too_long_ends_with_dots(target: bytes, path: str) -> None:
    assert path_of(target) == path
    assert len(path) <= MAX_PATH


@pytest.mark.parametrize("room", [12, 40, 41, 255])
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=300))
def test_a_text_that_is_made_to_fit_takes_the_room_and_no_more(room: int, text: str) -> None:
    fitted = fit(text, room)
    length = len(encode_basestring_ascii(fitted)) - 2
    assert length <= room
    if fitted != text:
        assert fitted.endswith("...")
        assert text.startswith(fitted[:-3])
        # The next character would not fit.
        assert len(encode_basestring_ascii(text[: len(fitted) - 2] + "...")) - 2 > room
        assert len(encode_basestring_ascii(text)) - 2 > room


def test_a_text_is_shortened_only_where_it_is_too_long() -> None:
    assert [shorten(text, 5) for text in ("", "12345", "123456")] == ["", "12345", "12..."]
