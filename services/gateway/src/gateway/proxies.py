"""The client's address and scheme, as trusted proxies report them."""

import logging
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network
from typing import NamedTuple

from gateway.forwarding_headers import Address, Hop, forwarded_hop, parse_address, split_hops, x_forwarded_for_hop
from gateway.metrics import Metrics
from strict_http.asgi import Headers

UNKNOWN = "unknown"
"""Stands for an address that nobody knows (RFC 7239 section 6.2)."""

_IPV6_SITE_BITS = 64
_FORWARDED, _FOR, _PROTO = b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"
_SCHEMES = frozenset({"http", "https"})

type Network = IPv4Network | IPv6Network

log = logging.getLogger("gateway.proxies")


class Client(NamedTuple):
    """The address that the request came from, or `UNKNOWN`, and the scheme that it was sent over."""

    address: str
    scheme: str

    @property
    def limited_address(self) -> str | None:
        """What failures count against: the address, for IPv6 its /64, which belongs to one site (RFC 6177).

        None if it is unknown: strangers must not share one limit.
        """
        address = parse_address(self.address)
        if isinstance(address, IPv6Address):
            return str(IPv6Network((address, _IPV6_SITE_BITS), strict=False))
        return str(address) if address else None


class TrustedProxies:
    """Believes what these networks write about the client, and nobody else.

    They write `X-Forwarded-For` and `X-Forwarded-Proto`, or `Forwarded` (RFC 7239). `Forwarded` is read only where
    there is no `X-Forwarded-For`: a proxy that writes `Forwarded` has to remove the `X-Forwarded-For` of its clients.
    """

    def __init__(self, networks: Sequence[Network], metrics: Metrics) -> None:
        self._networks = networks
        self._metrics = metrics
        self._warned = False

    def client(self, peer: str, scheme: str, headers: Headers) -> Client:
        """The client behind a connection from `peer`.

        The hops are read from the right, past trusted proxies, to the first address that is not one of them; anybody
        could have written what stands to its left. If a hop has no readable address, the client is `UNKNOWN`: with
        the proxy's own address, everybody behind it would share one limit.
        """
        if not self._networks or not self._trusts(parse_address(peer)):
            return Client(peer, scheme)
        values: dict[bytes, list[str]] = {_FORWARDED: [], _FOR: [], _PROTO: []}
        for name, value in headers:
            if name in values:
                values[name].append(value.decode("latin-1"))
        address, protocol = peer, ""
        if hops := split_hops(values[_FOR]):
            address, protocol = self._walk(hops, x_forwarded_for_hop)
        elif hops := split_hops(values[_FORWARDED]):
            address, protocol = self._walk(hops, forwarded_hop)
        protocol = protocol or _first(values[_PROTO])
        return Client(address, protocol if protocol in _SCHEMES else scheme)

    def _walk(self, hops: Sequence[str], read: Callable[[str], Hop]) -> tuple[str, str]:
        hop = Hop(None)
        for text in reversed(hops):
            hop = read(text)
            if not self._trusts(hop.address):
                break
        if hop.address is None:
            self._report_unreadable()
            return UNKNOWN, ""
        return str(hop.address), hop.protocol

    def _report_unreadable(self) -> None:
        self._metrics.forwarding_unreadable.inc()
        if not self._warned:
            self._warned = True
            log.warning(
                "a trusted proxy sends a forwarding header without a readable client address; "
                "failed authentications of such requests are not limited"
            )

    def _trusts(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self._networks)


def _first(values: Sequence[str]) -> str:
    """The first of a list, which is what the proxy next to the client wrote."""
    return ",".join(values).partition(",")[0].strip(" \t").lower()
