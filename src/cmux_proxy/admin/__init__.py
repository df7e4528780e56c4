"""The admin listener: what a proxy does, for people and programs that look after it.

Knows snapshots, which are plain data, and HTTP through aiohttp; nothing of connections. It is
imported only where it is wanted, since aiohttp and prometheus_client are an extra.
"""
