"""The system's resolver."""

import asyncio
import socket

import pytest

from cmux_proxy.upstream.resolver import Resolver
from tests.helpers.timing import soon


async def test_a_name_has_addresses() -> None:
    addresses = await soon(Resolver(asyncio.get_running_loop()).look_up("localhost"))
    assert {info[4][0] for info in addresses} <= {"127.0.0.1", "::1"}
    assert {(info[1], info[4][1]) for info in addresses} == {(socket.SOCK_STREAM, 0)}


async def test_an_error_of_the_resolver_is_raised() -> None:
    with pytest.raises(UnicodeError):
        await soon(Resolver(asyncio.get_running_loop()).look_up("a" * 64))
