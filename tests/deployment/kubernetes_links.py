"""Whether what names something else in the manifests finds it, and nothing more."""

import re
from collections.abc import Iterator

from tests.deployment.kubernetes_manifests import (
    Manifests,
    Object,
    Workload,
    chosen,
    named,
    of_kind,
    secret_files,
    secrets_by_hand,
    title,
    variables,
    workload,
    workloads,
)
from tests.deployment.kubernetes_policies import NAMESPACE

CONNECTIONS_TO_SPARE = 10
"""For the jobs, and for who looks after the server."""
HASHED = re.compile(r"-[a-z0-9]{10}$")


def namespaced(manifests: Manifests) -> Iterator[str]:
    """Everything is in one namespace, which admits restricted pods alone."""
    for manifest in manifests:
        if manifest["kind"] != "Namespace" and manifest["metadata"].get("namespace") != NAMESPACE:
            yield f"{title(manifest)} is not in the namespace"
    namespace = named(manifests, "Namespace", NAMESPACE) or {"metadata": {}}
    labels = namespace["metadata"].get("labels", {})
    if labels.get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "the namespace does not enforce restricted pods"


def selectors(manifests: Manifests) -> Iterator[str]:
    """Each selector takes the pods of one workload, its own."""
    for one in workloads(manifests):
        if one.kind in ("Deployment", "StatefulSet") and not chosen(one.manifest["spec"]["selector"], one.labels):
            yield f"{one.title} does not select its own pods"
    for manifest in of_kind(manifests, "Service", "PodDisruptionBudget", "PodMonitor"):
        found = selected(manifest, manifests)
        if [one.app for one in found] != [manifest["metadata"]["name"]]:
            yield f"{title(manifest)} selects {[one.title for one in found]}"


def selected(manifest: Object, manifests: Manifests) -> list[Workload]:
    selector = manifest["spec"]["selector"]
    if manifest["kind"] == "Service":
        selector = {"matchLabels": selector}
    return [one for one in workloads(manifests) if chosen(selector, one.labels)]


def ports(manifests: Manifests) -> Iterator[str]:
    """A port that is named is there; the admin port has no Service."""
    for one in workloads(manifests):
        yield from _probed_ports(one)
    for service in of_kind(manifests, "Service"):
        for port in service["spec"]["ports"]:
            yield from _missing_port(service, port["targetPort"], manifests)
            if "admin" in (port["name"], port["targetPort"]):
                yield f"{title(service)} shows the admin port"
    for monitor in of_kind(manifests, "PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            yield from _missing_port(monitor, endpoint["port"], manifests)
    every = {name for one in workloads(manifests) for name in one.ports}
    for policy in of_kind(manifests, "NetworkPolicy"):
        rules = [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]
        asked = {port["port"] for rule in rules for port in rule.get("ports", []) if isinstance(port["port"], str)}
        if asked - every:
            yield f"{title(policy)} names {asked - every}, which no pod has"


def _missing_port(manifest: Object, name: str, manifests: Manifests) -> Iterator[str]:
    if name not in {port for one in selected(manifest, manifests) for port in one.ports}:
        yield f"{title(manifest)} asks for {name}, which is no port of the pods"


def _probed_ports(one: Workload) -> Iterator[str]:
    for container in one.containers:
        known = {port["name"] for port in container.get("ports", [])}
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(name, {})
            asked = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
            if asked is not None and asked not in known:
                yield f"{one.title} probes {asked}, which is no port of the container"


def routes(manifests: Manifests) -> Iterator[str]:
    """From outside only the gateway is reached, at a port that its Service has."""
    backends: list[tuple[str, object]] = []
    for ingress in of_kind(manifests, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                backends.append((service["name"], service["port"].get("name") or service["port"]["number"]))
    for route in of_kind(manifests, "HTTPRoute"):
        backends += [(one["name"], one["port"]) for rule in route["spec"]["rules"] for one in rule["backendRefs"]]
    gateway = named(manifests, "Service", "gateway") or {"spec": {"ports": []}}
    known = {port[member] for port in gateway["spec"]["ports"] for member in ("name", "port")}
    for name, port in backends:
        if name != "gateway" or port not in known:
            yield f"{name}:{port} is routed to from outside"
    for service in of_kind(manifests, "Service"):
        if service["spec"].get("type", "ClusterIP") != "ClusterIP":
            yield f"{title(service)} opens itself to the outside"


def scaling(manifests: Manifests) -> Iterator[str]:
    """Autoscaler, disruption budget and the settings that count replicas agree."""
    for deployment in of_kind(manifests, "Deployment"):
        name = deployment["metadata"]["name"]
        scaler, budget = (named(manifests, kind, name) for kind in ("HorizontalPodAutoscaler", "PodDisruptionBudget"))
        if scaler is None or budget is None:
            yield f"{title(deployment)} has no autoscaler or no disruption budget"
            continue
        least, most = scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]
        if scaler["spec"]["scaleTargetRef"] != {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}:
            yield f"{title(scaler)} scales something else"
        if "replicas" in deployment["spec"]:
            yield f"{title(deployment)} sets replicas, which are the autoscaler's"
        if not 2 <= least < most:
            yield f"{title(scaler)} may leave {least} of {most}"
        if not 1 <= budget["spec"].get("maxUnavailable", 0) < least:
            yield f"{title(budget)} lets no pod or every pod go"
    yield from _counted_replicas(manifests)


def _counted_replicas(manifests: Manifests) -> Iterator[str]:
    bounds = {one["metadata"]["name"]: one["spec"] for one in of_kind(manifests, "HorizontalPodAutoscaler")}
    for one in workloads(manifests):
        if one.app == "gateway" and "gateway" in bounds:
            hint = variables(one, manifests).get("GATEWAY_REPLICAS_HINT", "1")
            if int(hint) != bounds["gateway"]["minReplicas"]:
                yield f"GATEWAY_REPLICAS_HINT is {hint}"
        if one.app == "postgres" and "todos" in bounds:
            found = re.search(r"max_connections=(\d+)", " ".join(one.pod["containers"][0]["args"]))
            pool = variables(workload(manifests, "todos"), manifests)["TODOS_POOL_SIZE"]
            needed = int(pool) * (bounds["todos"]["maxReplicas"] + 1) + CONNECTIONS_TO_SPARE
            if found is None or int(found[1]) < needed:
                yield f"{one.title} has fewer than the {needed} connections that may be asked for"


def references(manifests: Manifests) -> Iterator[str]:
    """Every ConfigMap, Secret, key and account that is asked for is there, or something is said to make it."""
    made = _made_secrets(manifests)
    for one in workloads(manifests):
        account = one.pod.get("serviceAccountName", "default")
        if named(manifests, "ServiceAccount", account) is None:
            yield f"{one.title} runs as {account}, which is not there"
        for secret, keys in _asked_secrets(one):
            if secret not in made or not keys <= made[secret]:
                yield f"{one.title} asks for {secret}: {sorted(keys)}"
        for config in _asked_configs(one):
            yield from _config_faults(one, config, manifests)
    for ingress in of_kind(manifests, "Ingress"):
        for entry in ingress["spec"].get("tls", []):
            if entry["secretName"] not in made:
                yield f"{title(ingress)} asks for {entry['secretName']}"


def _config_faults(one: Workload, config: str, manifests: Manifests) -> Iterator[str]:
    if named(manifests, "ConfigMap", config) is None:
        yield f"{one.title} asks for the ConfigMap {config}"
    if not HASHED.search(config):
        yield f"{one.title} does not notice a change of {config}"
    if one.kind == "Job":
        yield f"{one.title} cannot follow a change of {config}"


def _made_secrets(manifests: Manifests) -> dict[str, set[str]]:
    made = {secret["metadata"]["name"]: set(secret["data"]) for secret in of_kind(manifests, "Secret")}
    for external in of_kind(manifests, "ExternalSecret"):
        made[external["spec"]["target"]["name"]] = {entry["secretKey"] for entry in external["spec"]["data"]}
    for ingress in of_kind(manifests, "Ingress"):
        if "cert-manager.io/cluster-issuer" in ingress["metadata"].get("annotations", {}):
            made |= {entry["secretName"]: {"tls.crt", "tls.key"} for entry in ingress["spec"].get("tls", [])}
    return made or secrets_by_hand()


def _asked_secrets(one: Workload) -> Iterator[tuple[str, set[str]]]:
    for secret, key, _ in secret_files(one):
        yield secret, {key}
    for volume in one.pod.get("volumes", []):
        if "secret" in volume:
            yield volume["secret"]["secretName"], {item["key"] for item in volume["secret"].get("items", [])}


def _asked_configs(one: Workload) -> Iterator[str]:
    for container in one.containers:
        yield from (source["configMapRef"]["name"] for source in container.get("envFrom", []))
    yield from (volume["configMap"]["name"] for volume in one.pod.get("volumes", []) if "configMap" in volume)
