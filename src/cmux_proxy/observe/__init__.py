"""How exchanges and tunnels ended: counters, records and statistics. Knows no connection.

observer            what `relay` reports to; passes records on
outcome             how an exchange ended, and how many ended so
record              one finished exchange
    record_fields   its fields as JSON carries them
    access_log      its line in the access log; _fast_lines is its compiled twin
line_block          lines of the access log that are written together
clock               the clock of records
counters            counters of all exchanges of a worker
    histogram       durations counted by bucket
    port_activity   counters of each port
worker_stats        all of a worker's values, which add up with those of others
    traffic_stats   those of its counters
"""
