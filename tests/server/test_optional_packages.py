"""Packages of an extra: installed, or named with the remedy."""

import pytest

from cmux_proxy.errors import ConfigError
from cmux_proxy.server.optional_packages import require_packages


def test_installed_packages_are_accepted() -> None:
    require_packages("a.b", "x", ("json", "json.decoder"))


@pytest.mark.parametrize("missing", ["no_such_package", "no_such_package.inner", "json.no_such"])
def test_a_missing_package_is_an_error_of_the_field(missing: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_packages("a.b", "x", ("json", missing))
    assert caught.value.field == "a.b"
    assert (
        caught.value.reason == "needs packages that are not installed: pip install 'cmux-proxy[x]'"
    )
