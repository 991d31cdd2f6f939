"""Pods of the rendered manifests, run by Docker as the manifests say: what of Kubernetes can be had without it.

Each pod becomes a container under the name of its Service, with its user, read-only root, no capability, its limit of
memory, its settings, its command and its volumes. An empty folder or a claimed volume becomes a volume of Docker's,
which belongs to the image's user as `fsGroup` would have it.
"""

import base64
import contextlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deployment.engine import ROOT, docker, run
from tests.deployment.kubernetes_manifests import (
    Manifests,
    Object,
    Workload,
    named,
    secret_files,
    variables,
    workload,
)


@dataclass(frozen=True)
class Node:
    """Where the pods of one overlay run."""

    manifests: Manifests
    folder: Path
    network: str

    def build(self, app: str, seconds: float) -> None:
        """Make the image of a service, under a name that is nobody else's."""
        file = f"services/{app}/Dockerfile"
        docker("build", "--quiet", "--file", file, "--tag", self.named(app), str(ROOT), seconds=seconds)

    def start(self, app: str, *options: str, user: str | None = None, **extra: str) -> str:
        """Start the pod and return its container; `user` where the image names its own otherwise than by number."""
        one = workload(self.manifests, app)
        container = one.containers[0]
        context, command = one.pod["securityContext"], container.get("command", [])
        environment = {**variables(one, self.manifests), **extra}
        return docker(
            "run", "--detach", "--name", self.named(app), "--network", self.network, "--network-alias", app,
            "--user", user or f"{context['runAsUser']}:{context['runAsGroup']}",
            "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--memory", container["resources"]["limits"]["memory"].replace("i", ""),
            *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
            *self._volumes(one),
            *(("--entrypoint", command[0]) if command else ()),
            *options,
            self.named(container["image"].partition(":")[0]) if one.ours else container["image"],
            *command[1:],
            *container.get("args", []),
        ).strip()  # fmt: skip

    def address(self, app: str, port: int) -> str:
        """Where a port that was published with `--publish 127.0.0.1::PORT` is."""
        return "http://" + docker("port", self.named(app), f"{port}/tcp").strip()

    def named(self, app: str) -> str:
        return f"{self.network}-{app}"

    def _volumes(self, one: Workload) -> Iterator[str]:
        volumes = {volume["name"]: volume for volume in one.pod.get("volumes", [])}
        for mount in one.containers[0].get("volumeMounts", []):
            files = self._files(one, volumes.get(mount["name"], {}))
            if files is None:
                yield from ("--volume", mount["mountPath"])
            else:
                folder = self.folder / f"{one.app}-{mount['name']}"
                write_files(folder, files)
                yield from ("--volume", f"{folder}:{mount['mountPath']}:ro")

    def _files(self, one: Workload, volume: Object) -> dict[str, bytes] | None:
        if "projected" in volume:
            return {path: self._secret(name)[key] for name, key, path in secret_files(one)}
        if "secret" in volume:
            return self._secret(volume["secret"]["secretName"])
        if "configMap" in volume:
            config = named(self.manifests, "ConfigMap", volume["configMap"]["name"])
            assert config
            return {name: text.encode() for name, text in config["data"].items()}
        return None

    def _secret(self, name: str) -> dict[str, bytes]:
        secret = named(self.manifests, "Secret", name)
        assert secret
        return {key: base64.b64decode(value) for key, value in secret["data"].items()}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Readable by whoever the container runs as."""
    folder.mkdir(mode=0o755)
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o444)


@contextlib.contextmanager
def node(manifests: Manifests, folder: Path) -> Iterator[Node]:
    """A network of its own; everything on it is gone at the end."""
    network = f"pair-pods-{uuid.uuid4().hex[:12]}"
    docker("network", "create", network)
    try:
        yield Node(manifests, folder, network)
    finally:
        containers = docker("ps", "--all", "--quiet", "--filter", f"network={network}").split()
        if containers:
            run("docker", "rm", "--force", "--volumes", *containers)
        docker("network", "rm", network)
        run("docker", "rmi", *docker("images", "--quiet", "--filter", f"reference={network}-*").split())
