"""Runs tests that are coroutines, on every event loop."""

from tests.helpers.loops import pytest_generate_tests, pytest_pyfunc_call

__all__ = ["pytest_generate_tests", "pytest_pyfunc_call"]
