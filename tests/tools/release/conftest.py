"""Allows coroutines as tests, on one loop only: the programs they start choose their own loop."""

from tests.commands.conftest import pytest_generate_tests
from tests.helpers.loops import pytest_pyfunc_call

__all__ = ["pytest_generate_tests", "pytest_pyfunc_call"]
