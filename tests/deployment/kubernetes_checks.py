"""Every check of the manifests; each yields what is wrong with them."""

from collections.abc import Callable, Iterator

from tests.deployment.kubernetes_links import namespaced, ports, references, routes, scaling, selectors
from tests.deployment.kubernetes_manifests import Manifests
from tests.deployment.kubernetes_pods import jobs, pod_security, resources, rollouts
from tests.deployment.kubernetes_schemas import schema_faults
from tests.deployment.kubernetes_settings import compose, images, privileges, settings

type Check = Callable[[Manifests], Iterator[str]]

CHECKS: tuple[Check, ...] = (
    schema_faults, namespaced, selectors, ports, routes, scaling, references,
    pod_security, rollouts, resources, jobs,
    settings, privileges, images, compose,
)  # fmt: skip
