"""Prometheus's side of the hub: samples as they are told, and the files of `deploy/monitoring` taken apart."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families

FOLDER = Path(__file__).parents[1] / "deploy" / "monitoring"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
ALERTS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(exposition: str) -> Samples:
    """Every number by its name and labels."""
    families = text_string_to_metric_families(exposition)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def value(told: Samples, name: str, **labels: str) -> float:
    """The sum of this metric's numbers that have at least these labels; there must be one."""
    wanted = frozenset(labels.items())
    found = [number for (each, having), number in told.items() if each == f"moviehub_{name}" and wanted <= having]
    assert found, f"{name} {labels} is not told"
    return sum(found)


def queries() -> Iterator[str]:
    """Every query of the alerts and of the dashboard, with what Grafana puts into it."""
    yield from (rule["expr"] for rule in ALERTS)
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "1m").replace("$job", "moviehub.*")


def selected(query: str) -> Iterator[tuple[str, frozenset[str]]]:
    """The metrics that a query asks for, each with the labels that it names; an error if it is no PromQL."""

    def walk(node: Any) -> Iterator[tuple[str, frozenset[str]]]:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector):
            yield node.name or "", frozenset(matcher.name for matcher in node.matchers.matchers)
        for name in ("expr", "lhs", "rhs"):
            if (inner := getattr(node, name, None)) is not None and not isinstance(inner, str):
                yield from walk(inner)
        for inner in getattr(node, "args", None) or []:
            yield from walk(inner)

    return walk(promql_parser.parse(query))
