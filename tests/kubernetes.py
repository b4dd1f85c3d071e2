"""The manifests of `deploy/kubernetes/` as tests look at them: by kind, by pod, by container."""

import re
from pathlib import Path
from typing import Any

import click
import yaml  # type: ignore[import-untyped]

from moviehub.entrypoints.cli import main
from moviehub.entrypoints.settings import Settings

FOLDER = Path(__file__).parents[1] / "deploy" / "kubernetes"
KUSTOMIZATION_TEXT = (FOLDER / "kustomization.yaml").read_text()
KUSTOMIZATION: dict[str, Any] = yaml.safe_load(KUSTOMIZATION_TEXT)
MANIFESTS: list[dict[str, Any]] = [
    manifest for name in KUSTOMIZATION["resources"] for manifest in yaml.safe_load_all((FOLDER / name).read_text())
]
SETTINGS = dict(re.findall(r"^(\w+)=(.*)$", (FOLDER / "settings.env").read_text(), re.MULTILINE))
SECRETS = dict(re.findall(r"^#   (MOVIEHUB_\w+) +(.+)$", KUSTOMIZATION_TEXT, re.MULTILINE))
SAMPLES = {
    "MOVIEHUB_SECRET_KEY": "Vq3LhX0bTz7mKc9RfWu2YpJd5NsGa8Ei",
    "MOVIEHUB_DATABASE_URL": "postgresql://moviehub:hidden@postgres:5432/moviehub",
    "MOVIEHUB_REDIS_URL": "redis://:hidden@redis:6379/0",
    "MOVIEHUB_TMDB_TOKEN": "e" * 32,
    "MOVIEHUB_PREVIOUS_SECRET_KEYS": "mKc9RfWu2YpJd5NsGa8EiVq3LhX0bTz7",
    "MOVIEHUB_DATABASE_REPLICA_URL": "postgresql://moviehub:hidden@replica:5432/moviehub",
}
PODS_NETWORK = {"MOVIEHUB_TRUSTED_PROXIES": "10.244.0.0/16"}


def called(manifest: dict[str, Any]) -> str:
    """Kind and name."""
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def of(kind: str, name: str = "moviehub-api") -> dict[str, Any]:
    """The specification of the one manifest of this kind and name."""
    (found,) = [manifest for manifest in MANIFESTS if called(manifest) == f"{kind} {name}"]
    specification: dict[str, Any] = found["spec"]
    return specification


PODS = {
    manifest["metadata"]["labels"]["app.kubernetes.io/component"]: manifest["spec"]["template"]
    for manifest in MANIFESTS
    if "template" in manifest["spec"]
}
CONTAINERS: dict[str, dict[str, Any]] = {part: pod["spec"]["containers"][0] for part, pod in PODS.items()}


def port_of(part: str, name: str) -> int:
    """The number behind the name of a container's port."""
    (number,) = [port["containerPort"] for port in CONTAINERS[part]["ports"] if port["name"] == name]
    return int(number)


def parameters(part: str) -> dict[str, Any]:
    """What our command understands of a container's arguments; it refuses an option that there is not."""
    command, *options = CONTAINERS[part]["args"]
    assert isinstance(main, click.Group)
    return main.commands[command].make_context(command, options).params


def settings() -> Settings:
    """What a pod reads in a cluster that gave it everything."""
    return Settings.read({**SETTINGS, **SAMPLES, **PODS_NETWORK})
