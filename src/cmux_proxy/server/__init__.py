"""Processes and sockets: what serves, restarts, drains and reports, around the relay.

launch              one process or several: checks the system, and starts them
worker_group        several processes: their sockets, and the admin process beside them
supervisor          several processes: starts and restarts them, forwards signals
    slot            the sockets of one process, and the process that serves them
    fork            one new process that calls a function
worker              one process: event loop, signals, drain
process_memory      its garbage collection and freed memory
proxy               Proxy, the object that an embedder holds; the composition root
drain               closes idle connections first, then refuses requests
reload              reads files again on SIGHUP
binding             listening sockets for addresses and descriptors
    unix_socket     those at paths
    inherited       those that already listen
listener            accepts on all of them; accepting can pause
connection_limits   how many connections the descriptors allow
self_addresses      whether an address is one of the proxy's own
public_bind         whether an address is reachable without protection
signals             queued for an event loop, or as a pipe without one
notify              systemd: ready, stopping, alive
line_stream         log lines on a standard stream, never blocking
access_log_writer   the access log, written by a thread
    access_log_file its file: checked, opened, opened again
    log_output      blocks of lines on their way to a descriptor
admin               the admin listener, in a process or beside it
stats_rpc           statistics of workers for the admin process, and the sockets for that
    snapshot        the statistics of one worker
telemetry, tracing  what observes exchanges; spans for OpenTelemetry
optional_packages   whether an extra is installed
"""
