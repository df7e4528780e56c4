"""What is installed with an extra: found, or named with the remedy."""

import pytest

from cmux_proxy.errors import ConfigError
from cmux_proxy.server.optional_packages import need


def test_what_is_there_is_enough() -> None:
    need("a.b", "x", ("json", "json.decoder"))


@pytest.mark.parametrize("missing", ["no_such_package", "no_such_package.inner", "json.no_such"])
def test_what_is_missing_is_an_error_of_the_field(missing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        need("a.b", "x", ("json", missing))
    assert caught.value.field == "a.b"
    assert caught.value.reason == "needs what is not installed: pip install 'cmux-proxy[x]'"
