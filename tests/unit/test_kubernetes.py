"""What `deploy/kubernetes/` says is valid, and its pods and settings are true of the code and of the image."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from moviehub.entrypoints import server
from moviehub.entrypoints.http.app import openapi_document
from moviehub.entrypoints.settings import Settings, SettingsError, unknown_variables
from tests.kubernetes import (
    CONTAINERS,
    FOLDER,
    KUSTOMIZATION,
    MANIFESTS,
    PODS,
    PODS_NETWORK,
    SAMPLES,
    SECRETS,
    SETTINGS,
    called,
    of,
    parameters,
    port_of,
    settings,
)

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
DOCUMENT = (ROOT / "docs" / "kubernetes.md").read_text()
KUBERNETES = ("1.30", "1.37")
"""The oldest and the newest that the manifests are checked for."""

every_manifest = pytest.mark.parametrize("manifest", MANIFESTS, ids=called)
every_pod = pytest.mark.parametrize("part", PODS)


def strings(thing: Any) -> Iterator[str]:
    """Every text in a manifest, keys too."""
    if isinstance(thing, dict):
        for key, value in thing.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(thing, list):
        for each in thing:
            yield from strings(each)
    elif isinstance(thing, str):
        yield thing


# Kubernetes takes it


@every_manifest
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_manifest_is_valid_by_the_schemas_of_kubernetes(manifest: dict[str, Any], version: str) -> None:
    assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_a_field_that_kubernetes_does_not_know_would_be_found() -> None:
    wrong = {**MANIFESTS[0], "spec": {**MANIFESTS[0]["spec"], "ttlSeconds": 1}}

    with pytest.raises(kubernetes_validate.ValidationError, match="ttlSeconds"):
        kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)


def test_the_document_names_the_versions_that_the_manifests_are_checked_for() -> None:
    assert re.findall(r"Kubernetes (\d\.\d+) and (\d\.\d+)", DOCUMENT) == [KUBERNETES]


def test_the_kustomization_lists_every_file() -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    listed = [*KUSTOMIZATION["resources"], *generated["envs"], "kustomization.yaml"]

    assert sorted(listed) == sorted(path.name for path in FOLDER.iterdir())


def test_no_two_manifests_are_the_same_thing() -> None:
    assert len({called(manifest) for manifest in MANIFESTS}) == len(MANIFESTS)


# Settings and secrets


def test_the_settings_and_the_secrets_together_are_taken_by_production() -> None:
    taken = settings()

    assert (taken.env, taken.storage, taken.cache) == ("production", "postgres", "redis")
    assert unknown_variables({**SETTINGS, **SECRETS}) == []


def test_secrets_that_are_said_to_be_optional_are() -> None:
    needed = {name: SAMPLES[name] for name, told in SECRETS.items() if not told.startswith("optional:")}
    Settings.read({**SETTINGS, **needed, **PODS_NETWORK})

    assert SECRETS.keys() == SAMPLES.keys()
    for name in needed:
        with pytest.raises(SettingsError, match=name):
            Settings.read({**SETTINGS, **needed, **PODS_NETWORK, name: ""})


def test_production_does_not_start_until_it_is_told_the_network_of_the_pods() -> None:
    with pytest.raises(SettingsError, match="MOVIEHUB_TRUSTED_PROXIES"):
        Settings.read({**SETTINGS, **SAMPLES})


def test_no_secret_is_among_the_settings_or_in_a_manifest() -> None:
    assert not SECRETS.keys() & SETTINGS.keys()
    assert not [called(manifest) for manifest in MANIFESTS if manifest["kind"] in ("Secret", "ConfigMap")]
    assert not [text for text in strings(MANIFESTS) if "MOVIEHUB_" in text or "://" in text]


@every_pod
def test_every_pod_reads_the_same_settings_and_secrets_and_no_others(part: str) -> None:
    (generated,) = KUSTOMIZATION["configMapGenerator"]

    assert CONTAINERS[part]["envFrom"] == [
        {"configMapRef": {"name": generated["name"]}},
        {"secretRef": {"name": "moviehub"}},
    ]
    assert "env" not in CONTAINERS[part]
    assert PODS[part]["spec"]["enableServiceLinks"] is False  # a Service's variables would look like settings


# Pods


def test_the_three_pods_run_the_commands_that_they_are_for() -> None:
    assert {part: container["args"][0] for part, container in CONTAINERS.items()} == {
        "api": "serve",
        "worker": "worker",
        "migration": "migrate",
    }
    assert parameters("migration") == {}
    assert parameters("api")["host"] == parameters("worker")["host"] == "0.0.0.0"
    assert not [part for part, container in CONTAINERS.items() if "command" in container]  # the image's own


def test_the_ports_of_the_containers_are_those_that_our_commands_listen_on() -> None:
    assert port_of("api", "http") == parameters("api")["port"]
    assert port_of("worker", "metrics") == parameters("worker")["metrics_port"]


@every_pod
def test_every_pod_has_one_container_of_our_image(part: str) -> None:
    assert len(PODS[part]["spec"]["containers"]) == 1
    assert CONTAINERS[part]["image"] == "moviehub"  # which an overlay gives a registry and a tag
    assert "initContainers" not in PODS[part]["spec"]


@every_pod
def test_no_pod_may_do_more_than_it_must(part: str) -> None:
    (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    pod = PODS[part]["spec"]

    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(user),
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert CONTAINERS[part]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & pod.keys()


@every_pod
def test_every_pod_can_write_to_tmp_and_nowhere_else(part: str) -> None:
    (volume,) = PODS[part]["spec"]["volumes"]

    assert volume.keys() == {"name", "emptyDir"}
    assert CONTAINERS[part]["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]


@every_pod
def test_every_pod_says_what_it_needs_and_how_much_memory_it_gets_at_most(part: str) -> None:
    resources = CONTAINERS[part]["resources"]

    assert resources["requests"].keys() == {"cpu", "memory"}
    assert int(resources["limits"]["memory"].removesuffix("Mi")) > int(
        resources["requests"]["memory"].removesuffix("Mi")
    )


def test_the_api_is_asked_for_its_health_where_it_tells_it() -> None:
    served = msgspec.json.decode(openapi_document())["paths"]
    probes = {name: CONTAINERS["api"][name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}

    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/health/live",  # what it needs may be away when it starts, and a restart would not help
        "readinessProbe": "/health/ready",
        "livenessProbe": "/health/live",
    }
    assert all(probe["path"] in served and port_of("api", probe["port"]) for probe in probes.values())


def test_prometheus_and_the_probe_of_the_worker_ask_where_metrics_are_served() -> None:
    for part, port in (("api", port_of("api", "http")), ("worker", port_of("worker", "metrics"))):
        assert PODS[part]["metadata"]["annotations"] == {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": str(port),
            "prometheus.io/path": "/metrics",
        }
    assert CONTAINERS["worker"]["livenessProbe"]["httpGet"] == {"path": "/metrics", "port": "metrics"}
    assert "readinessProbe" not in CONTAINERS["worker"]


def test_a_pod_that_ends_is_given_the_time_that_it_takes() -> None:
    drain = settings().drain_seconds

    assert PODS["api"]["spec"]["terminationGracePeriodSeconds"] > drain + server.LONGEST_GOODBYE
    assert PODS["worker"]["spec"]["terminationGracePeriodSeconds"] > 5
    assert "lifecycle" not in CONTAINERS["api"]


# The document


def test_the_overlay_in_the_document_completes_what_the_base_leaves_open() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    overlay = yaml.safe_load(block)
    (base,) = KUSTOMIZATION["configMapGenerator"]
    (merged,) = overlay["configMapGenerator"]
    (image,) = overlay["images"]

    assert (merged["name"], merged["behavior"]) == (base["name"], "merge")
    told = dict(literal.split("=", 1) for literal in merged["literals"])
    Settings.read({**SETTINGS, **told, **SAMPLES})
    assert {container["image"] for container in CONTAINERS.values()} == {image["name"]}
    (patch,) = overlay["patches"]
    assert of(patch["target"]["kind"], patch["target"]["name"])
    assert f"https://{yaml.safe_load(patch['patch'])[0]['value']}" == told["MOVIEHUB_PUBLIC_URL"]


def test_the_document_lists_every_file_and_every_key_of_the_secret() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \|", DOCUMENT, re.MULTILINE)

    assert sorted(rows) == sorted(path.name for path in FOLDER.iterdir())
    assert all(f"`{name}`" in DOCUMENT for name in SECRETS)
