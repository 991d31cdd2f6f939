"""Whether the API server would take an object: Kubernetes' own schemas, and ours for the kinds of others.

The kinds that operators bring are not among Kubernetes' schemas. For these only what we use is described here, by
hand, from their documentation: a member that is not listed is a fault.
"""

from collections.abc import Iterator

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
from jsonschema import Draft202012Validator

from tests.deployment.kubernetes_manifests import Manifests, Object, title

RELEASES = ("1.32", kubernetes_validate.latest_version())
"""The oldest that the manifests are held to, and the newest that is known."""


def _object(required: Object, **optional: Object) -> Object:
    properties = {**required, **optional}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _list(items: Object) -> Object:
    return {"type": "array", "items": items, "minItems": 1}


def _enum(*values: str) -> Object:
    return {"enum": list(values)}


_TEXT: Object = {"type": "string", "minLength": 1}
_TEXTS: Object = {"type": "object", "additionalProperties": _TEXT}
_DURATION: Object = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}
_RULE: Object = {
    "oneOf": [
        _object({"record": _TEXT, "expr": _TEXT}, labels=_TEXTS),
        _object({"alert": _TEXT, "expr": _TEXT}, **{"for": _DURATION}, labels=_TEXTS, annotations=_TEXTS),
    ]
}
SPECS: dict[tuple[str, str], Object] = {
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): _object(
        {
            "parentRefs": _list(_object({"name": _TEXT}, namespace=_TEXT, sectionName=_TEXT)),
            "rules": _list(
                _object(
                    {
                        "matches": _list(
                            _object({"path": _object({"type": _enum("PathPrefix", "Exact"), "value": _TEXT})})
                        ),
                        "backendRefs": _list(_object({"name": _TEXT, "port": {"type": "integer"}})),
                    }
                )
            ),
        },
        hostnames=_list(_TEXT),
    ),
    ("external-secrets.io/v1", "ExternalSecret"): _object(
        {
            "secretStoreRef": _object({"name": _TEXT, "kind": _enum("SecretStore", "ClusterSecretStore")}),
            "target": _object({"name": _TEXT}),
            "data": _list(_object({"secretKey": _TEXT, "remoteRef": _object({"key": _TEXT}, property=_TEXT)})),
        },
        refreshInterval=_DURATION,
    ),
    ("monitoring.coreos.com/v1", "PodMonitor"): _object(
        {
            "selector": _object({"matchLabels": _TEXTS}),
            "podMetricsEndpoints": _list(_object({"port": _TEXT}, path=_TEXT, interval=_DURATION)),
        },
        jobLabel=_TEXT,
    ),
    ("monitoring.coreos.com/v1", "PrometheusRule"): _object(
        {"groups": _list(_object({"name": _TEXT, "rules": _list(_RULE)}, interval=_DURATION))}
    ),
}


def schema_faults(manifests: Manifests) -> Iterator[str]:
    for manifest in manifests:
        spec = SPECS.get((manifest["apiVersion"], manifest["kind"]))
        if spec is None:
            yield from _kubernetes_faults(manifest)
        else:
            schema = _object(
                {"apiVersion": _TEXT, "kind": _TEXT, "metadata": {"type": "object", "required": ["name"]}, "spec": spec}
            )
            for error in Draft202012Validator(schema).iter_errors(manifest):
                yield f"{title(manifest)}: {error.json_path}: {error.message}"


def _kubernetes_faults(manifest: Object) -> Iterator[str]:
    for release in RELEASES:
        try:
            kubernetes_validate.validate(manifest, release, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{title(manifest)} in {release}: {error.json_path}: {error.message}"
        except kubernetes_validate.SchemaNotFoundError as error:
            yield f"{title(manifest)}: {error.message}"
