"""Labels and names of DNS: which texts are one."""

import pytest

from cmux_proxy.config.host_names import ANY_HOST_NAME, DNS_LABEL, HOST_NAME

LONGEST = ".".join(["a" * 63] * 3 + ["a" * 61])


@pytest.mark.parametrize("text", ["a", "0", "a-b", "1a", "a" * 63])
def test_a_label_has_letters_digits_and_inner_dashes(text: str) -> None:
    assert DNS_LABEL.fullmatch(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "a_b", "A", "a.b", "a" * 64, "\u212a", "a\n"])
def test_other_texts_are_no_labels(text: str) -> None:
    assert DNS_LABEL.fullmatch(text) is None


@pytest.mark.parametrize("text", ["a", "a.b", "a_b.c-d", "_a", "127.0.0.1", LONGEST])
def test_a_host_name_is_labels_between_dots(text: str) -> None:
    assert HOST_NAME.fullmatch(text)
    assert ANY_HOST_NAME.fullmatch(text)


@pytest.mark.parametrize("text", ["A.b", "a.", "A.", LONGEST[:-1] + "."])
def test_case_and_a_final_dot_are_accepted_by_one_pattern_only(text: str) -> None:
    assert HOST_NAME.fullmatch(text) is None
    assert ANY_HOST_NAME.fullmatch(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", ".a", "a..b", "a..", "-a", "a-", "a b", "a/b", "a:1", "\u212a", "\u00e4", "a\n",
     LONGEST + "a", LONGEST + ".", "a" * 64],
)  # fmt: skip
def test_other_texts_are_no_host_names(text: str) -> None:
    assert HOST_NAME.fullmatch(text) is None
    assert ANY_HOST_NAME.fullmatch(text) is None
