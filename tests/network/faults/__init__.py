"""Faults that one proxy meets many times while other clients go on, and what is left afterwards.

ground      the proxy's neighbours: a service, clients who go on, and the marks of all exchanges
content     what belongs to a mark, and to no other
upstream    what a service does to the proxy, and what its client gets
client      what clients do to the proxy, at each stage of an exchange
"""
