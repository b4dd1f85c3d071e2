"""The parts of `deploy/kubernetes/` find one another, scale together, and let in and out what they must and no more."""

from typing import Any

import msgspec
import pytest

from moviehub.entrypoints.http.app import openapi_document
from moviehub.entrypoints.http.inputs import LARGEST_BODY
from moviehub.entrypoints.settings import Settings
from tests.kubernetes import (
    CONTAINERS,
    MANIFESTS,
    PODS,
    SETTINGS,
    called,
    of,
    parameters,
    port_of,
    settings,
)


def selected(selector: dict[str, str]) -> list[str]:
    """The pods that have these labels."""
    return [part for part, pod in PODS.items() if selector.items() <= pod["metadata"]["labels"].items()]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=called)
def test_every_selector_finds_the_pods_of_its_own_part(manifest: dict[str, Any]) -> None:
    specification = manifest["spec"]
    constraints = specification.get("template", {}).get("spec", {}).get("topologySpreadConstraints", [])
    selectors = [constraint["labelSelector"]["matchLabels"] for constraint in constraints]
    if manifest["kind"] == "Service":
        selectors.append(specification["selector"])
    elif "selector" in specification:
        selectors.append(specification["selector"]["matchLabels"])
    elif manifest["kind"] == "NetworkPolicy":
        selectors.append(specification["podSelector"]["matchLabels"])

    part = manifest["metadata"]["labels"].get("app.kubernetes.io/component")
    assert manifest["metadata"]["name"] == (f"moviehub-{part}" if part else "moviehub")
    for selector in selectors:
        assert selected(selector) == ([part] if part else list(PODS))
    assert selectors or manifest["kind"] in ("Job", "Ingress", "HorizontalPodAutoscaler")


def test_an_update_takes_no_pod_away_before_a_new_one_is_ready() -> None:
    assert of("Deployment")["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_how_many_replicas_the_api_has_is_the_autoscalers_to_say() -> None:
    scaled = of("HorizontalPodAutoscaler")

    assert scaled["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "moviehub-api"}
    assert "replicas" not in of("Deployment")
    assert scaled["minReplicas"] >= 2
    assert "cpu" in CONTAINERS["api"]["resources"]["requests"]  # of which the autoscaler's figure is a share


def test_a_node_that_is_emptied_leaves_a_replica() -> None:
    assert of("PodDisruptionBudget")["maxUnavailable"] < of("HorizontalPodAutoscaler")["minReplicas"]


def test_the_most_replicas_and_workers_fit_a_postgres_as_it_comes() -> None:
    replicas = of("HorizontalPodAutoscaler")["maxReplicas"] + of("Deployment")["strategy"]["rollingUpdate"]["maxSurge"]
    # An update adds one to the workers too.
    processes = replicas * parameters("api")["workers"] + of("Deployment", "moviehub-worker")["replicas"] + 1

    assert processes * settings().database_pool_size <= 100 - 3  # three are kept for superusers


def test_the_ingress_leads_to_the_service_and_the_service_to_the_api() -> None:
    (port,) = of("Service")["ports"]
    (rule,) = of("Ingress")["rules"]

    assert port_of("api", port["targetPort"]) == parameters("api")["port"]
    for path in rule["http"]["paths"]:
        assert path["backend"] == {"service": {"name": "moviehub-api", "port": {"name": port["name"]}}}


def test_the_ingress_lets_in_whoever_calls_the_api_and_shows_nobody_the_metrics() -> None:
    served = msgspec.json.decode(openapi_document())["paths"]
    (rule,) = of("Ingress")["rules"]

    def let_in(path: str) -> bool:
        return any(
            path == each["path"] or (each["pathType"] == "Prefix" and path.startswith(f"{each['path']}/"))
            for each in rule["http"]["paths"]
        )

    assert [path for path in served if not let_in(path)] == ["/metrics"]


def test_the_ingress_has_the_host_of_the_public_url_and_its_certificate_by_reference() -> None:
    (rule,) = of("Ingress")["rules"]
    (certificate,) = of("Ingress")["tls"]

    assert f"https://{rule['host']}" == SETTINGS["MOVIEHUB_PUBLIC_URL"]
    assert certificate == {"hosts": [rule["host"]], "secretName": "moviehub-tls"}


def test_the_wall_in_front_takes_bodies_as_large_as_the_api_and_more_requests_than_it_allows_a_person() -> None:
    (annotations,) = [each["metadata"]["annotations"] for each in MANIFESTS if called(each) == "Ingress moviehub-api"]
    told = {name.removeprefix("nginx.ingress.kubernetes.io/"): value for name, value in annotations.items()}
    allowed = Settings().rate_limit_user

    assert told.keys() == {"proxy-body-size", "limit-rps", "limit-connections"}
    assert told["proxy-body-size"] == f"{LARGEST_BODY // 1024}k"
    assert allowed is not None
    assert int(told["limit-rps"]) > allowed.quota / allowed.seconds


def test_pods_are_reached_from_the_ingress_controller_and_prometheus_alone() -> None:
    def let_in(name: str) -> list[tuple[list[str], list[str]]]:
        return [
            (
                [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]],
                [port["port"] for port in rule["ports"]],
            )
            for rule in of("NetworkPolicy", name).get("ingress", [])
        ]

    assert "Ingress" in of("NetworkPolicy", "moviehub")["policyTypes"]
    assert let_in("moviehub") == []
    assert let_in("moviehub-api") == [(["ingress-nginx", "monitoring"], ["http"])]
    assert let_in("moviehub-worker") == [(["monitoring"], ["metrics"])]
    assert port_of("api", "http")
    assert port_of("worker", "metrics")


def test_pods_reach_names_postgres_redis_and_what_is_outside_and_nothing_else() -> None:
    policy = of("NetworkPolicy", "moviehub")
    names, servers, outside = policy["egress"]

    assert "Egress" in policy["policyTypes"]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[53, 53], [5432, 6379], [443]]
    assert {port["protocol"] for port in names["ports"]} == {"UDP", "TCP"}
    assert "to" not in servers
    for peer in outside["to"]:
        assert peer["ipBlock"]["except"]  # not the cluster's own network, nor what a cloud tells its machines
