"""The proxy inside your own program: it serves in your event loop and handles no signals."""

import asyncio

from cmux_proxy import Config, Proxy


async def main() -> None:
    """Serve until cancelled, then drain."""
    async with Proxy(Config(listen=["127.0.0.1:0"])) as proxy:
        print("listening on", *proxy.addresses)
        try:
            await asyncio.Event().wait()
        finally:
            await proxy.drain()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
