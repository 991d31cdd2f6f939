"""The client's address and scheme, as trusted proxies report them."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple

from strict_http.asgi import Headers

_IPV6_SITE_BITS = 64

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network


class Client(NamedTuple):
    """The address that the request came from, and the scheme that it was sent over."""

    address: str
    scheme: str

    @property
    def limited_address(self) -> str:
        """What failures count against: the address, for IPv6 its /64, which belongs to one site (RFC 6177)."""
        address = _parse(self.address)
        if not isinstance(address, IPv6Address):
            return str(address or self.address)
        return str(IPv6Network((address, _IPV6_SITE_BITS), strict=False))


class TrustedProxies:
    """Believes `X-Forwarded-For` and `X-Forwarded-Proto` from these networks only."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self._networks = networks

    def client(self, peer: str, scheme: str, headers: Headers) -> Client:
        """The client behind a connection from `peer`.

        `X-Forwarded-For` is read from the right, past trusted proxies, to the first address that is not one of
        them; anybody could have written what stands to its left. Reading stops at an entry that is not an address.
        """
        if not self._networks or not self._trusts(peer):
            return Client(peer, scheme)
        entries: list[str] = []
        for name, value in headers:
            if name == b"x-forwarded-for":
                entries += value.decode("latin-1").split(",")
            elif name == b"x-forwarded-proto" and value in (b"http", b"https"):
                scheme = value.decode()
        address = peer
        for entry in reversed(entries):
            parsed = _parse(entry.strip())
            if parsed is None:
                break
            address = str(parsed)
            if not self._trusts(address):
                break
        return Client(address, scheme)

    def _trusts(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._networks)


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
