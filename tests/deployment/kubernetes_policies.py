"""Who may reach whom, as the NetworkPolicies of the rendered manifests have it."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import product

from tests.deployment.kubernetes_manifests import Manifests, Object, chosen, of_kind, workloads

NAMESPACE = "pair"
NAME = "kubernetes.io/metadata.name"
OUTSIDE_PORTS = (("TCP", 53), ("UDP", 53), ("TCP", 80), ("TCP", 443), ("TCP", 5432), ("TCP", 6379), ("TCP", 6443))


@dataclass(frozen=True)
class Party:
    """A pod of some namespace, or an address outside the cluster."""

    name: str
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    ports: tuple[tuple[str, int], ...] = ()
    address: str = ""


OTHERS = (
    Party("ingress", "ingress-nginx"),
    Party("prometheus", "monitoring"),
    Party("stranger", "default"),
    Party("impostor", "default", (("app.kubernetes.io/name", "gateway"),)),
    Party("dns", "kube-system", (("k8s-app", "kube-dns"),)),
    Party("internet", address="203.0.113.7"),
    Party("internet6", address="2001:db8::7"),
    Party("private network", address="10.1.2.3"),
    Party("cloud metadata", address="169.254.169.254"),
)


def reachable(manifests: Manifests) -> set[tuple[str, str, str]]:
    """Every `(from, to, protocol/port)` that both ends let through, where one of them is a pod of ours."""
    return leaving(manifests) & entering(manifests)


def leaving(manifests: Manifests) -> set[tuple[str, str, str]]:
    """What the policies on the way out let through, whatever those on the way in say."""
    return {
        (source.name, target.name, f"{protocol}/{port}")
        for source, target, protocol, port in _attempts(manifests)
        if _passes(of_kind(manifests, "NetworkPolicy"), "Egress", source, target, protocol, port)
    }


def entering(manifests: Manifests) -> set[tuple[str, str, str]]:
    """What the policies on the way in let through, whatever those on the way out say."""
    return {
        (source.name, target.name, f"{protocol}/{port}")
        for source, target, protocol, port in _attempts(manifests)
        if _passes(of_kind(manifests, "NetworkPolicy"), "Ingress", target, source, protocol, port)
    }


def pods(manifests: Manifests) -> list[Party]:
    return [
        Party(one.app, NAMESPACE, tuple(one.labels.items()), tuple(one.ports.items())) for one in workloads(manifests)
    ]


def _attempts(manifests: Manifests) -> Iterator[tuple[Party, Party, str, int]]:
    """Also from a pod to another of its kind."""
    for source, target in product([*pods(manifests), *OTHERS], repeat=2):
        if NAMESPACE in (source.namespace, target.namespace):
            yield from ((source, target, protocol, port) for protocol, port in _ports(target))


def _ports(target: Party) -> Iterator[tuple[str, int]]:
    if target.namespace == NAMESPACE:
        yield from (("TCP", port) for _, port in target.ports)
    else:
        yield from OUTSIDE_PORTS


def _passes(policies: Manifests, way: str, bound: Party, other: Party, protocol: str, port: int) -> bool:
    """Whether the policies that bind `bound` in this direction let it meet `other`; none binds: everything passes."""
    if bound.namespace != NAMESPACE:
        return True
    binding = [
        policy["spec"]
        for policy in policies
        if way in policy["spec"]["policyTypes"] and chosen(policy["spec"]["podSelector"], dict(bound.labels))
    ]
    target = other if way == "Egress" else bound
    return not binding or any(
        _peer(rule, way, other) and _port(rule, target, protocol, port)
        for spec in binding
        for rule in spec.get(way.lower(), [])
    )


def _peer(rule: Object, way: str, other: Party) -> bool:
    peers = rule.get("to" if way == "Egress" else "from")
    return not peers or any(_is(peer, other) for peer in peers)


def _is(peer: Object, other: Party) -> bool:
    if "ipBlock" in peer:
        return bool(other.address) and _in_block(peer["ipBlock"], other.address)
    if other.address:
        return False
    if "namespaceSelector" in peer:
        in_namespace = chosen(peer["namespaceSelector"], {NAME: other.namespace})
    else:
        in_namespace = other.namespace == NAMESPACE
    return in_namespace and chosen(peer.get("podSelector", {}), dict(other.labels))


def _in_block(block: Object, address: str) -> bool:
    taken = ip_address(address) in ip_network(block["cidr"])
    return taken and not any(ip_address(address) in ip_network(cidr) for cidr in block.get("except", []))


def _port(rule: Object, target: Party, protocol: str, port: int) -> bool:
    ports = rule.get("ports")
    return not ports or any(
        entry.get("protocol", "TCP") == protocol and _number(entry.get("port", port), target) == port for entry in ports
    )


def _number(port: str | int, target: Party) -> int | None:
    return port if isinstance(port, int) else dict(target.ports).get(port)
