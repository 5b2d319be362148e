"""Whether this computer has a way to other computers, as far as that can be told without sending anything."""

import socket
import urllib.request

_NO_ADDRESSES = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses that belong to nobody (RFC 5737, RFC 3849). Choosing a route to one sends no packet."""

_PORT = 9


def seems_connected() -> bool:
    """Tell whether there is a route out of this computer, or a proxy is set, which may be reached without one.

    True may be wrong behind a firewall, and False where a network has no route to all addresses.
    """
    proxies = {scheme for scheme in urllib.request.getproxies() if scheme != "no"}
    return bool(proxies) or any(_has_route(family, address) for family, address in _NO_ADDRESSES)


def _has_route(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _PORT))
        return True
    except OSError:
        return False
