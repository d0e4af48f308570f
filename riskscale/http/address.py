"""Who asks: the address of the client, behind proxies that are trusted to tell it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from riskscale.errors import ArgumentError

Address = IPv4Address | IPv6Address
LONGEST_KEY = 512
"""Bytes of a key as it is."""


class Proxies:
    """The proxies in front of the application.

    Args:
        trusted: their addresses or networks, such as ``"10.0.0.0/8"``. ``X-Forwarded-For`` is believed as far as it was
            written by them, and not at all where the peer is none of them: anybody can send that header.
        ipv6_prefix: bits of an IPv6 address that make one client; whoever has an address has the other 64 bits too.

    Raises:
        ArgumentError: an address or network is malformed.
    """

    def __init__(self, trusted: Iterable[str] = (), *, ipv6_prefix: int = 64) -> None:
        if isinstance(trusted, str):
            raise ArgumentError("trusted", "must be several addresses or networks, not one text")
        if isinstance(ipv6_prefix, bool) or not isinstance(ipv6_prefix, int) or not 1 <= ipv6_prefix <= 128:
            raise ArgumentError("ipv6_prefix", f"must be from 1 to 128, not {ipv6_prefix!r}")
        self._prefix = ipv6_prefix
        self._networks: list[IPv4Network | IPv6Network] = []
        for each in trusted:
            try:
                self._networks.append(ip_network(each))
            except ValueError as error:
                raise ArgumentError("trusted", f"holds {each!r}: {error}") from None

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """The client's key: the last hop that no trusted proxy vouches for. ``forwarded`` are the headers, in order."""
        found = _parsed(peer)
        if found is None:
            return peer  # a Unix socket, or a test's name
        hops = [hop.strip() for line in forwarded for hop in line.split(",")]
        while hops and any(found in network for network in self._networks):
            hop = _parsed(hops.pop())
            if hop is None:  # what is no address was not written by a proxy of ours
                break
            found = hop
        return self._key(found)

    def _key(self, address: Address) -> str:
        if isinstance(address, IPv6Address) and self._prefix < 128:
            return str(IPv6Network((address.packed, self._prefix), strict=False))
        return str(address)


def bounded(key: Any) -> Any:
    """Clients choose keys as long and as odd as a header field may be, or empty: such a key, or one of several, is its
    digest."""
    if isinstance(key, Mapping):
        return {name: bounded(each) for name, each in key.items()}
    if not isinstance(key, str):
        return key  # the limiter says what is wrong with it
    encoded = key.encode(errors="surrogatepass")
    if 0 < len(encoded) <= LONGEST_KEY and encoded.decode(errors="replace") == key:
        return key
    return f"sha256:{hashlib.sha256(encoded).hexdigest()}"


def _parsed(text: str) -> Address | None:
    """With or without a port; an IPv4 address in IPv6's clothes is one client with the plain one."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
