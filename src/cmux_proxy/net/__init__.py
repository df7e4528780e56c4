"""Bytes and time: sockets, transports, timers; knows no HTTP."""
