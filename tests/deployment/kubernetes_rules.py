"""The PrometheusRule of deploy/k8s: a copy of the rules of deploy/observability.

kustomize reads nothing outside its folder. After a change of the rules:

    .venv/bin/python -m tests.deployment.kubernetes_rules
"""

import textwrap

from tests.deployment.kubernetes_manifests import FOLDER, ROOT

COPY = FOLDER / "components" / "monitoring" / "rules.yaml"
SOURCES = sorted((ROOT / "deploy" / "observability" / "prometheus").glob("*.yml"))
HEAD = """\
# Written by `.venv/bin/python -m tests.deployment.kubernetes_rules` from deploy/observability/prometheus.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: pair
spec:
  groups:
"""


def prometheus_rule() -> str:
    groups = [source.read_text().partition("groups:\n")[2].rstrip() for source in SOURCES]
    return HEAD + "\n\n".join(textwrap.indent(group, "  ") for group in groups) + "\n"


if __name__ == "__main__":
    COPY.write_text(prometheus_rule())
