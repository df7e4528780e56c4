"""Bytes and time: sockets, streams, timers. Knows no HTTP.

stream             Stream, StreamOwner and Loop: the names that the rooms above use
asyncio_backend    the same on asyncio and uvloop, and how they differ
"""
