"""The admin listener: health checks, metrics, lists and the dashboard of a proxy.

Knows WorkerStats, and HTTP through aiohttp; nothing of connections to the proxy. It is imported
only where the listener is configured, because aiohttp and prometheus_client are an optional extra.

app                 the paths and their responses
    access_guard    which requests are refused: Host, token
admin_site          the server, on connections that are accepted elsewhere
    connections     their number and their timeouts
worker_history      counters of workers that are busy or dead
json_views          /activity and /connections
metrics             /metrics, in Prometheus' format
    port_metrics    those of single ports
dashboard           /, the page
event_stream        /events, one event for all readers
    overview        what an event holds
    port_rows       its rows of ports
    reachability    whether and how the proxy reaches what listens
"""
