"""Coroutines are tests here; programs of their own do not care about the loop of the test."""

from tests.commands.conftest import pytest_generate_tests
from tests.helpers.loops import pytest_pyfunc_call

__all__ = ["pytest_generate_tests", "pytest_pyfunc_call"]
