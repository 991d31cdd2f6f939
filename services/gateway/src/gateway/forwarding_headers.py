"""What proxies write of the client: `X-Forwarded-For`, and `Forwarded` (RFC 7239)."""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

MAX_HOPS = 32
"""Of a request; all hops before the last 32 count as one hop that cannot be read."""

_PORT = r"(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?"
_NODE = re.compile(
    rf"(?P<ipv4>[0-9.]{{7,15}}){_PORT}|\[(?P<ipv6>[0-9A-Fa-f:.]{{2,45}})\]{_PORT}|(?P<bare>[0-9A-Fa-f:.]{{2,45}})"
)
"""RFC 7239 section 6, and an IPv6 address without brackets, as most write it in `X-Forwarded-For`."""

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*(?P<name>{_WORD})=(?:(?P<plain>{_WORD})|"(?P<quoted>[^"\\]*)")[ \t]*(?:;|$)')
"""RFC 7239 section 4; no address needs an escape in its quotes."""

type Address = IPv4Address | IPv6Address


class Hop(NamedTuple):
    """What one proxy saw; `address` is None where it is hidden or unreadable, `protocol` empty where it is not said."""

    address: Address | None
    protocol: str = ""


def parse_address(text: str) -> Address | None:
    """An IP address, or None; an IPv4 address that is mapped into IPv6 (RFC 4291 section 2.5.5.2) is the IPv4 one."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def split_hops(values: Sequence[str]) -> list[str]:
    """The hops of all fields of one name; the nearest proxy wrote the last one. Empty elements are ignored.

    The commas are counted from the right and without regard to quotes: a quote that a client leaves open must not
    reach into what a proxy appends (RFC 9110 section 5.6.1).
    """
    return [hop for text in ",".join(values).rsplit(",", MAX_HOPS) if (hop := text.strip(" \t"))]


def x_forwarded_for_hop(text: str) -> Hop:
    """An address, also with a port, in brackets or in quotes."""
    quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return Hop(_node_address(text[1:-1] if quoted else text))


def forwarded_hop(text: str) -> Hop:
    """The `for` and `proto` of an element; a malformed one has neither."""
    pairs: dict[str, str] = {}
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None or pair["name"].lower() in pairs:
            return Hop(None)
        pairs[pair["name"].lower()] = pair["plain"] or pair["quoted"] or ""
        position = pair.end()
    return Hop(_node_address(pairs.get("for", "")), pairs.get("proto", "").lower())


def _node_address(text: str) -> Address | None:
    node = _NODE.fullmatch(text)
    return parse_address(node["ipv4"] or node["ipv6"] or node["bare"]) if node else None
