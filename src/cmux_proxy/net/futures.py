"""Settles futures whose waiter may have been cancelled. Does not know what they stand for."""

import asyncio
from typing import TypeVar

T = TypeVar("T")


def settle(future: "asyncio.Future[T]", value: T) -> None:
    """Set a future's result, unless it is done already."""
    if not future.done():
        future.set_result(value)
