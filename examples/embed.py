"""The proxy inside a program of your own: it serves in your event loop and leaves signals alone."""

import asyncio

from cmux_proxy import Config, Proxy


async def main() -> None:
    """Serve until cancelled, then let what is under way finish."""
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
