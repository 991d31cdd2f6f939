"""What every pod has to be like: how it is confined, asked, stopped and fed."""

from collections.abc import Iterator

from gateway.forward.upstream import IDLE_SECONDS
from gateway.settings import ServeSettings as GatewaySettings
from runtime.serve import IN_FLIGHT_SECONDS
from tests.deployment.kubernetes_manifests import (
    Manifests,
    Object,
    Workload,
    chosen,
    of_kind,
    title,
    variables,
    workloads,
)

ENDPOINT_REMOVAL_SECONDS = 15
"""In which kube-proxy, the ingress controller and its cloud have surely seen a pod go."""
SPARE_SECONDS = 5
IMAGE_USER = (10001, 10001)
IDLE_MIB = {"gateway": 70, "todos": 89}
"""Resident, as measured; docs/kubernetes.md."""
MIB_PER_BUFFERED = 2.2
VOLUME_TYPES = frozenset(
    ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"]
)
SPREAD = {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
UNITS = {"Ki": 1 / 1024, "Mi": 1, "Gi": 1024}


def pod_security(manifests: Manifests) -> Iterator[str]:
    """The restricted Pod Security Standard in full, a read-only root and no token."""
    for one in workloads(manifests):
        yield from _pod_security(one, one.pod.get("securityContext", {}))
        for container in [*one.containers, *one.pod.get("ephemeralContainers", [])]:
            yield from _container_security(one, container)
    for account in of_kind(manifests, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{title(account)} hands out its token"


def _pod_security(one: Workload, context: Object) -> Iterator[str]:
    if any(one.pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield f"{one.title} shares a namespace of the host"
    if one.pod.get("automountServiceAccountToken") is not False:
        yield f"{one.title} mounts a token"
    if context.get("sysctls"):
        yield f"{one.title} sets sysctls"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{one.title} has no seccomp profile"
    numbers = (context.get("runAsUser", 0), context.get("runAsGroup", 0))
    if context.get("runAsNonRoot") is not True or min(numbers) <= 0:
        yield f"{one.title} may run as root"
    if one.ours and numbers != IMAGE_USER:
        yield f"{one.title} does not run as the user of the image"
    if any(set(volume) - {"name"} - VOLUME_TYPES for volume in one.pod.get("volumes", [])):
        yield f"{one.title} has a volume of a type that is not allowed"


def _container_security(one: Workload, container: Object) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("privileged") or context.get("allowPrivilegeEscalation") is not False:
        yield f"{one.title} may gain privileges"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield f"{one.title} keeps capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{one.title} may write to its root"
    if set(context) & {"runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "procMount", "seLinuxOptions"}:
        yield f"{one.title} changes for a container what the pod sets"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{one.title} opens a port of the host"


def rollouts(manifests: Manifests) -> Iterator[str]:
    """A pod goes only when another serves, is asked on its admin port, and drains before it is killed."""
    for one in workloads(manifests):
        if one.kind != "Deployment":
            continue
        strategy = one.manifest["spec"].get("strategy", {})
        if strategy.get("rollingUpdate") != {"maxUnavailable": 0, "maxSurge": 1}:
            yield f"{one.title} may lose a pod before another serves"
        spread = one.pod.get("topologySpreadConstraints", [])
        if {constraint["topologyKey"] for constraint in spread} != SPREAD:
            yield f"{one.title} is not spread over nodes and zones"
        for constraint in spread:
            if constraint["whenUnsatisfiable"] != "ScheduleAnyway" or not chosen(
                constraint["labelSelector"], one.labels
            ):
                yield f"{one.title} is spread by other pods, or may not be scheduled"
        yield from _probes(one)
        yield from _drain(one, variables(one, manifests))


def _probes(one: Workload) -> Iterator[str]:
    [container] = one.containers
    # a pod that waits for its schema or its keys lives: only readiness may depend on them
    for probe, page in (("startupProbe", "live"), ("readinessProbe", "ready"), ("livenessProbe", "live")):
        if container.get(probe, {}).get("httpGet") != {"path": f"/healthz/{page}", "port": "admin"}:
            yield f"{one.title} has another {probe}"
    if "lifecycle" in container:
        yield f"{one.title} needs no hook: the process drains by itself"


def _drain(one: Workload, environment: dict[str, str]) -> Iterator[str]:
    drain = float(environment.get(f"{one.app.upper()}_DRAIN_SECONDS", 5))
    if drain < ENDPOINT_REMOVAL_SECONDS:
        yield f"{one.title} may close before every router has seen it go"
    if one.app == "todos" and drain <= IDLE_SECONDS:
        yield f"{one.title} may close a connection that the gateway still keeps"
    if one.pod.get("terminationGracePeriodSeconds", 30) < drain + IN_FLIGHT_SECONDS + SPARE_SECONDS:
        yield f"{one.title} is killed before it has drained"


def resources(manifests: Manifests) -> Iterator[str]:
    """Requests for CPU and memory, a limit of memory with room for what may be buffered, none of CPU."""
    for one in workloads(manifests):
        for container in one.containers:
            given = container.get("resources", {})
            if set(given.get("requests", {})) != {"cpu", "memory"} or set(given.get("limits", {})) != {"memory"}:
                yield f"{one.title} has other requests or limits"
                continue
            request, limit = (mebibytes(given[name]["memory"]) for name in ("requests", "limits"))
            if not request <= limit:
                yield f"{one.title} asks for more than its limit"
            if one.kind == "Deployment" and one.app in IDLE_MIB:
                idle = IDLE_MIB[one.app]
                buffered = GatewaySettings.model_fields["max_buffered_bytes"].default / (1 << 20) * MIB_PER_BUFFERED
                if request < idle or limit < idle + buffered:
                    yield f"{one.title} has less memory than it was measured to take"


def mebibytes(quantity: str) -> float:
    return float(quantity[:-2]) * UNITS[quantity[-2:]]


def jobs(manifests: Manifests) -> Iterator[str]:
    """They end, are tried again, and are cleaned up."""
    for one in workloads(manifests):
        if one.kind not in ("Job", "CronJob"):
            continue
        nested = one.kind == "CronJob"
        spec = one.manifest["spec"]["jobTemplate"]["spec"] if nested else one.manifest["spec"]
        if not spec.get("backoffLimit", 0) or not spec.get("activeDeadlineSeconds"):
            yield f"{one.title} is not tried again, or without end"
        if one.pod.get("restartPolicy") != "Never":
            yield f"{one.title} hides why it failed"
        if not nested and not spec.get("ttlSecondsAfterFinished"):
            yield f"{one.title} stays for ever"
        if nested and one.manifest["spec"].get("concurrencyPolicy") != "Forbid":
            yield f"{one.title} may run beside itself"
