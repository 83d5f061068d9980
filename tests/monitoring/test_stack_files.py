"""The files of the stack: valid by their own tools and schemas, in agreement with each other and with the library."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pyrallel_consumer.observability.metrics.families import FAMILIES, Kind
from tests.monitoring.dashboard import DASHBOARD, MONITORING, panels, queries

ROOT = MONITORING.parent
ALERT_TESTS = Path(__file__).with_name("alerts_test.yml")
EXPORTER_METRICS = {"kafka_consumergroup_lag"}
PORTS = {"kafka": 9092, "kafka-ui": 8080, "kafka-exporter": 9308, "prometheus": 9090, "grafana": 3000}


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def run(*command: str) -> str:
    """The command's output; the command must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def services() -> Any:
    return read_yaml(ROOT / "docker-compose.yml")["services"]


@pytest.mark.usefixtures("prometheus_programs")
def test_promtool_finds_nothing_wrong_with_configuration_and_rules() -> None:
    run("promtool", "check", "config", "--lint-fatal", "monitoring/prometheus.yml")
    run("promtool", "check", "rules", "--lint-fatal", "monitoring/alerts.yml")


@pytest.mark.usefixtures("prometheus_programs")
def test_alerts_fire_when_they_should_and_only_then() -> None:
    run("promtool", "test", "rules", str(ALERT_TESTS))


def test_every_alert_has_a_test_in_which_it_fires() -> None:
    alerts = {rule["alert"] for group in read_yaml(MONITORING / "alerts.yml")["groups"] for rule in group["rules"]}
    fired: set[str] = set()
    for case in read_yaml(ALERT_TESTS)["tests"]:
        fired |= {each["alertname"] for each in case.get("alert_rule_test", ()) if each["exp_alerts"]}
        for each in case["promql_expr_test"]:
            fired |= {
                found for sample in each["exp_samples"] for found in re.findall('alertname="(\\w+)"', sample["labels"])
            }

    assert fired == alerts


def test_the_compose_file_fits_the_schema_of_compose_files() -> None:
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_services_listen_where_it_is_promised_and_for_this_machine_alone(services: Any) -> None:
    assert {name: service["ports"] for name, service in services.items()} == {
        name: [f"127.0.0.1:{port}:{port}"] for name, port in PORTS.items()
    }
    assert services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GF_SECURITY_ADMIN_PASSWORD:?")


def test_every_image_names_its_version(services: Any) -> None:
    assert [name for name, service in services.items() if not re.search(r":v?\d+\.\d+\.\d+$", service["image"])] == []


def test_files_that_are_mounted_are_there_and_files_that_are_named_are_mounted(services: Any) -> None:
    mounted = {
        target: ROOT / source
        for service in services.values()
        for source, target in (volume.split(":")[:2] for volume in service.get("volumes", ()))
        if source.startswith("./")
    }
    assert [path for path in mounted.values() if not path.exists()] == []
    [rules] = read_yaml(MONITORING / "prometheus.yml")["rule_files"]
    assert mounted[f"/etc/prometheus/{rules}"] == MONITORING / rules
    [provider] = read_yaml(MONITORING / "grafana/provisioning/dashboards/files.yml")["providers"]
    assert list(mounted[provider["options"]["path"]].glob("*.json"))
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (mounted[str(home.parent)] / home.name).exists()


def test_prometheus_scrapes_exporter_and_consumer_by_names_that_its_container_knows(services: Any) -> None:
    jobs = {job["job_name"]: job for job in read_yaml(MONITORING / "prometheus.yml")["scrape_configs"]}
    [[exporter], [consumer]] = (
        jobs[name]["static_configs"][0]["targets"] for name in ("kafka-exporter", "pyrallel-consumer")
    )
    assert exporter == f"kafka-exporter:{PORTS['kafka-exporter']}"
    host, port = consumer.split(":")
    assert f"{host}:host-gateway" in services["prometheus"]["extra_hosts"]
    assert port == "9091"


def test_grafana_asks_the_prometheus_of_the_stack_through_the_source_that_the_dashboard_names() -> None:
    [source] = read_yaml(MONITORING / "grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == f"http://prometheus:{PORTS['prometheus']}"
    variable = DASHBOARD["templating"]["list"][0]
    assert (variable["type"], variable["query"]) == ("datasource", source["type"])
    assert variable["current"]["value"] == source["uid"]
    assert {target["datasource"]["uid"] for panel in panels() for target in panel["targets"]} == {"${datasource}"}


def test_panels_are_numbered_named_described_and_do_not_overlap() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    assert len({panel["title"] for panel in everything}) == len(everything)
    assert [panel["title"] for panel in panels() if not panel["description"]] == []
    taken: dict[tuple[int, int], str] = {}
    for panel in everything:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


def test_queries_and_alerts_name_metrics_that_there_are_and_every_metric_is_asked_for() -> None:
    names = {family.name for family in FAMILIES}
    parts = ("_bucket", "_sum", "_count")
    histograms = [family.name for family in FAMILIES if family.kind is Kind.HISTOGRAM]
    series = names | {f"{name}{part}" for name in histograms for part in parts}
    asked = " ".join(queries().values())
    alerts = " ".join(
        rule["expr"] for group in read_yaml(MONITORING / "alerts.yml")["groups"] for rule in group["rules"]
    )

    used = set(re.findall(r"\b(?:consumer|kafka)_\w+", asked + " " + alerts))

    assert used - series - EXPORTER_METRICS == set()
    family_of = {f"{name}{part}": name for name in histograms for part in parts}
    shown = {family_of.get(name, name) for name in re.findall(r"\bconsumer_\w+", asked)}
    assert names - shown == {
        "consumer_parallel_lag",
        "consumer_skipped_total",
        "consumer_assigned_partitions",
        "consumer_dlq_failing",
    }
