"""Faults to plant into rendered manifests, each with the check that has to find it."""

from collections.abc import Callable

from tests.deployment.kubernetes_checks import Check
from tests.deployment.kubernetes_links import namespaced, ports, references, routes, scaling, selectors
from tests.deployment.kubernetes_manifests import BY_HAND, VERSION, Manifests, Object, named, workload
from tests.deployment.kubernetes_pods import jobs, pod_security, resources, rollouts
from tests.deployment.kubernetes_schemas import schema_faults
from tests.deployment.kubernetes_settings import compose, images, privileges, settings

type Fault = Callable[[Manifests], object]


def of(kind: str, name: str) -> Callable[[Manifests], Object]:
    def find(manifests: Manifests) -> Object:
        found = named(manifests, kind, name)
        assert found
        return found

    return find


gateway, todos = of("Deployment", "gateway"), of("Deployment", "todos")
purge = of("CronJob", "todos-purge")
migrate = of("Job", f"todos-migrate-{VERSION.replace('.', '-')}")


def pod(app: str) -> Callable[[Manifests], Object]:
    return lambda manifests: workload(manifests, app).pod


def container(app: str) -> Callable[[Manifests], Object]:
    return lambda manifests: workload(manifests, app).containers[0]


def setting(find: Callable[[Manifests], Object], path: str, value: object) -> Fault:
    """Puts `value` at the dotted path; None takes away what is there."""

    def plant(manifests: Manifests) -> None:
        *way, last = [int(step) if step.isdigit() else step.replace("~", ".") for step in path.split(".")]
        target = find(manifests)
        for step in way:
            target = target[step]  # type: ignore[index]  # a list where the step is a number
        if value is None:
            del target[last]  # type: ignore[arg-type]
        else:
            target[last] = value  # type: ignore[index]

    return plant


def config(app: str, name: str, value: str | None) -> Fault:
    def find(manifests: Manifests) -> Object:
        [source] = workload(manifests, app).pod["containers"][0]["envFrom"]
        return of("ConfigMap", source["configMapRef"]["name"])(manifests)

    return setting(find, f"data.{name}", value)


def secret_item(app: str, source: int, member: str, value: str) -> Fault:
    return setting(pod(app), f"volumes.0.projected.sources.{source}.secret.items.0.{member}", value)


def config_without_a_hash(manifests: Manifests) -> None:
    manifests.append({"kind": "ConfigMap", "metadata": {"name": "todos"}, "data": {}})
    setting(container("todos"), "envFrom.0.configMapRef.name", "todos")(manifests)


def migration_with_config(manifests: Manifests) -> None:
    container("todos-migrate")(manifests)["envFrom"] = container("todos")(manifests)["envFrom"]


def without(kind: str, name: str) -> Fault:
    return lambda manifests: manifests.remove(of(kind, name)(manifests))


def admitted(container_setting: str, value: object) -> Fault:
    return setting(container("todos"), f"securityContext.{container_setting}", value)


LABELS = "metadata.labels.app~kubernetes~io/name"
PLANTED: list[tuple[Check, str, str, Fault]] = [
    (schema_faults, "local", "unknown member", setting(gateway, "spec.replica", 2)),
    (schema_faults, "local", "wrong type", setting(gateway, "spec.template.spec.terminationGracePeriodSeconds", "60")),
    (schema_faults, "local", "unknown kind", setting(gateway, "apiVersion", "apps/v1beta1")),
    (schema_faults, BY_HAND, "route", setting(of("HTTPRoute", "gateway"), "spec.rules.0.backend", {})),
    (schema_faults, "production", "secret", setting(of("ExternalSecret", "redis"), "spec.data.0.secretkey", "url")),
    (schema_faults, "production", "monitor", setting(of("PodMonitor", "todos"), "spec.endpoints", [])),
    (schema_faults, "production", "rule", setting(of("PrometheusRule", "pair"), "spec.groups.0.rules.0.expr", None)),
    (namespaced, "local", "elsewhere", setting(todos, "metadata.namespace", "default")),
    (namespaced, "local", "baseline", setting(
        of("Namespace", "pair"), "metadata.labels.pod-security~kubernetes~io/enforce", "baseline")),
    (selectors, "local", "pods", setting(gateway, f"spec.template.{LABELS}", "gate")),
    (selectors, "local", "its own pods", setting(todos, "spec.selector.matchLabels", {"a": "b"})),
    (selectors, "local", "service", setting(of("Service", "todos"), "spec.selector", {
        "app.kubernetes.io/part-of": "pair"})),
    (selectors, "local", "budget", setting(of("PodDisruptionBudget", "todos"), "spec.selector.matchLabels", {
        "app.kubernetes.io/name": "gateway"})),
    (selectors, "production", "monitor", setting(of("PodMonitor", "gateway"), "spec.selector.matchLabels", {"a": "b"})),
    (ports, "local", "service", setting(of("Service", "todos"), "spec.ports.0.targetPort", "web")),
    (ports, "local", "admin", setting(of("Service", "todos"), "spec.ports.0.targetPort", "admin")),
    (ports, "local", "probe", setting(container("todos"), "readinessProbe.httpGet.port", "health")),
    (ports, "local", "store's probe", setting(container("redis"), "livenessProbe.tcpSocket.port", "valkey")),
    (ports, "local", "policy", setting(of("NetworkPolicy", "todos"), "spec.ingress.0.ports.0.port", "web")),
    (ports, "production", "monitor", setting(
        of("PodMonitor", "todos"), "spec.podMetricsEndpoints.0.port", "metrics")),
    (routes, "production", "to todos", setting(
        of("Ingress", "gateway"), "spec.rules.0.http.paths.0.backend.service.name", "todos")),
    (routes, "production", "port", setting(
        of("Ingress", "gateway"), "spec.rules.0.http.paths.0.backend.service.port.name", "admin")),
    (routes, BY_HAND, "route", setting(of("HTTPRoute", "gateway"), "spec.rules.0.backendRefs.0.port", 9000)),
    (routes, "local", "node port", setting(of("Service", "todos"), "spec.type", "NodePort")),
    (scaling, "local", "no scaler", without("HorizontalPodAutoscaler", "todos")),
    (scaling, "local", "no budget", without("PodDisruptionBudget", "gateway")),
    (scaling, "local", "target", setting(
        of("HorizontalPodAutoscaler", "todos"), "spec.scaleTargetRef.name", "gateway")),
    (scaling, "local", "replicas", setting(todos, "spec.replicas", 3)),
    (scaling, "local", "one pod", setting(of("HorizontalPodAutoscaler", "todos"), "spec.minReplicas", 1)),
    (scaling, "local", "no room", setting(of("HorizontalPodAutoscaler", "todos"), "spec.maxReplicas", 2)),
    (scaling, "local", "all go", setting(of("PodDisruptionBudget", "todos"), "spec.maxUnavailable", 2)),
    (scaling, "local", "none goes", setting(of("PodDisruptionBudget", "todos"), "spec.maxUnavailable", 0)),
    (scaling, "local", "hint", config("gateway", "GATEWAY_REPLICAS_HINT", "3")),
    (scaling, "local", "connections", config("todos", "TODOS_POOL_SIZE", "20")),
    *[(pod_security, "local", path, setting(pod("postgres"), path, value)) for path, value in [
        ("hostNetwork", True), ("hostPID", True), ("hostIPC", True), ("automountServiceAccountToken", None),
        ("securityContext.sysctls", [{"name": "a", "value": "b"}]), ("securityContext.seccompProfile", None),
        ("securityContext.runAsNonRoot", None), ("securityContext.runAsUser", 0), ("securityContext.runAsGroup", None),
        ("volumes.0", {"name": "run", "hostPath": {"path": "/"}}), ("initContainers", [{"name": "a"}]),
    ]],
    *[(pod_security, "local", path, admitted(path, value)) for path, value in [
        ("privileged", True), ("allowPrivilegeEscalation", None), ("capabilities.add", ["NET_ADMIN"]),
        ("capabilities.drop", ["NET_RAW"]), ("readOnlyRootFilesystem", None), ("runAsUser", 0),
        ("seccompProfile", {"type": "Unconfined"}),
    ]],
    (pod_security, "local", "user of the image", setting(pod("gateway"), "securityContext.runAsUser", 1000)),
    (pod_security, "local", "host port", setting(container("todos"), "ports.0.hostPort", 80)),
    (pod_security, "local", "token", setting(of("ServiceAccount", "todos"), "automountServiceAccountToken", None)),
    (rollouts, "local", "strategy", setting(todos, "spec.strategy.rollingUpdate.maxUnavailable", 1)),
    (rollouts, "local", "spread", setting(pod("todos"), "topologySpreadConstraints.1", None)),
    (rollouts, "local", "spread of others", setting(
        pod("todos"), "topologySpreadConstraints.1.labelSelector.matchLabels", {"a": "b"})),
    (rollouts, "local", "must spread", setting(
        pod("todos"), "topologySpreadConstraints.0.whenUnsatisfiable", "DoNotSchedule")),
    (rollouts, "local", "no start-up probe", setting(container("todos"), "startupProbe", None)),
    (rollouts, "local", "killed while it waits", setting(
        container("todos"), "livenessProbe.httpGet.path", "/healthz/ready")),
    (rollouts, "local", "ready too early", setting(
        container("gateway"), "readinessProbe.httpGet.path", "/healthz/live")),
    (rollouts, "local", "hook", setting(container("gateway"), "lifecycle", {"preStop": {}})),
    (rollouts, "local", "short drain", config("gateway", "GATEWAY_DRAIN_SECONDS", "5")),
    (rollouts, "local", "shorter than a kept connection", config("todos", "TODOS_DRAIN_SECONDS", "30")),
    (rollouts, "local", "killed early", setting(pod("gateway"), "terminationGracePeriodSeconds", 45)),
    (resources, "local", "no request", setting(container("todos"), "resources.requests.cpu", None)),
    (resources, "local", "no limit", setting(container("redis"), "resources.limits.memory", None)),
    (resources, "local", "above the limit", setting(container("redis"), "resources.requests.memory", "1Gi")),
    (resources, "local", "less than idle", setting(container("todos"), "resources.requests.memory", "64Mi")),
    (resources, "local", "no room", setting(container("gateway"), "resources.limits.memory", "256Mi")),
    (references, "local", "account", without("ServiceAccount", "todos-purge")),
    (references, "local", "secret", without("Secret", "postgres")),
    (references, "production", "external secret", without("ExternalSecret", "identity")),
    (references, "production", "key", setting(of("ExternalSecret", "redis"), "spec.data.0.secretKey", "address")),
    (references, BY_HAND, "key by hand", secret_item("todos", 0, "key", "gate")),
    (references, "local", "config", setting(
        container("todos"), "envFrom.0.configMapRef.name", "todos-0123456789")),
    (references, "local", "config without a hash", config_without_a_hash),
    (references, "local", "migration's config", migration_with_config),
    (references, "production", "certificate", setting(of("Ingress", "gateway"), "metadata.annotations", {})),
    (settings, "local", "unknown", config("gateway", "GATEWAY_DRAIN", "5")),
    (settings, "local", "of the other", config("todos", "GATEWAY_LOG_LEVEL", "info")),
    (settings, "local", "missing", config("gateway", "GATEWAY_ISSUER", None)),
    (settings, "local", "wrong", config("gateway", "GATEWAY_UPSTREAM_URL", "https://todos:8001")),
    (settings, "local", "unknown secret", secret_item("todos", 1, "path", "TODOS_DB_URL")),
    (settings, "local", "port", config("gateway", "GATEWAY_PORT", "8080")),
    (settings, "local", "service links", setting(pod("gateway"), "enableServiceLinks", None)),
    (settings, "local", "secrets elsewhere", setting(container("todos"), "volumeMounts.0.mountPath", "/secrets")),
    (settings, "local", "command", setting(container("todos"), "command", ["todos"])),
    (privileges, "local", "serving migrates", secret_item("todos", 1, "path", "TODOS_MIGRATION_DATABASE_URL")),
    (privileges, "local", "second container", setting(pod("todos"), "initContainers", [{"name": "migrate"}])),
    (images, "local", "old", setting(container("todos"), "image", "todos:0.0.9")),
    (images, "production", "of the other", setting(container("todos-purge"), "image", "registry/gateway:0.1.0")),
    (images, "local", "store", setting(container("redis"), "image", "redis:latest")),
    (images, "local", "migration's name", setting(migrate, "metadata.name", "todos-migrate-0-0-9")),
    (compose, "local", "command", setting(container("todos-purge"), "command", ["todos", "migrate"])),
    (compose, "local", "setting", config("gateway", "GATEWAY_UPSTREAM_URL", "http://todos:8002")),
    (compose, "local", "store", setting(container("redis"), "args.2", "--save")),
    (compose, "local", "memory", setting(container("todos"), "resources.limits.memory", "384Mi")),
    (jobs, "local", "not again", setting(migrate, "spec.backoffLimit", 0)),
    (jobs, "local", "for ever", setting(migrate, "spec.ttlSecondsAfterFinished", None)),
    (jobs, "local", "without end", setting(purge, "spec.jobTemplate.spec.activeDeadlineSeconds", None)),
    (jobs, "local", "hides", setting(pod("todos-purge"), "restartPolicy", "OnFailure")),
    (jobs, "local", "twice", setting(purge, "spec.concurrencyPolicy", "Allow")),
]  # fmt: skip


def policy(name: str) -> Callable[[Manifests], Object]:
    return of("NetworkPolicy", name)


HOLES: list[tuple[str, Fault]] = [
    ("no default", without("NetworkPolicy", "default-deny")),
    ("no way to todos", without("NetworkPolicy", "todos")),
    ("any pod of the namespace", setting(policy("todos"), "spec.ingress.0.from.0.podSelector", {})),
    ("the label in any namespace", setting(policy("todos"), "spec.ingress.0.from.0.namespaceSelector", {})),
    ("every port", setting(policy("todos"), "spec.ingress.0.ports", None)),
    ("metrics for all", setting(policy("gateway"), "spec.ingress.1.from", None)),
    ("private networks", setting(policy("gateway"), "spec.egress.1.to.0.ipBlock.except", [])),
    ("egress is not bound", setting(policy("default-deny"), "spec.policyTypes", ["Ingress"])),
    ("another label", setting(policy("to-postgres"), "spec.podSelector.matchExpressions.0.values", ["todo"])),
    ("another protocol", setting(policy("to-redis"), "spec.egress.0.ports.0.protocol", "UDP")),
]
