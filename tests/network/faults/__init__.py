"""Faults that a proxy meets many times while other clients send requests.

harness     the service behind the proxy, the bystanders, and the marks of all exchanges
content     bodies and responses that belong to one mark
upstream    what the service does
outcomes    what the client of a service that fails does and receives
client      what clients do, at each stage of an exchange
table       all faults by name
"""
