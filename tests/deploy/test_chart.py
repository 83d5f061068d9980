"""The chart: valid for Helm, Kubernetes and operators, and what it computes follows from the settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate  # type: ignore[import-untyped] # it has no stubs
import pytest
from ruamel.yaml import YAML

from pyrallel_consumer.runtime.life import closing
from tests.deploy.chart import (
    EXAMPLES,
    KUBERNETES,
    ROOT,
    HelmError,
    environment,
    lint,
    pod,
    render,
    render_file,
    workload,
)

OF_OPERATORS = {"podmonitor", "prometheusrule", "scaledobject"}
PLAIN: dict[str, Any] = {"image": {"repository": "shop"}, "settings": {"PYRALLEL_WORKER": "shop:handle"}}
EVERYTHING: dict[str, Any] = {
    **PLAIN,
    "secretSettings": {"KAFKA_SASL_PASSWORD": "secret"},
    "existingSecrets": ["shop-kafka"],
    "imagePullSecrets": [{"name": "pull"}],
    "extraEnv": [{"name": "DATABASE", "value": "db"}],
    "command": ["python"],
    "args": ["-m", "shop"],
    "preStopSeconds": 3,
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "serviceAccountName": "shop",
    "podLabels": {"team": "shop"},
    "podAnnotations": {"note": "1"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "extraVolumes": [{"name": "certificates", "secret": {"secretName": "kafka-ca"}}],
    "extraVolumeMounts": [{"name": "certificates", "mountPath": "/certificates"}],
    "sharedMemory": "256Mi",
}
BY_PROMETHEUS: dict[str, Any] = {
    "enabled": True,
    "partitions": 12,
    "prometheus": {"serverAddress": "http://prometheus:9090"},
}
SHOP = {"KAFKA_BOOTSTRAP_SERVERS": ["a:1", "b:2"], "KAFKA_CONSUMER_GROUP": "shop", "PYRALLEL_TOPIC": "orders"}


def check(found: dict[str, dict[str, Any]], kubernetes: str) -> None:
    """Every object fits its schema: unknown fields are refused, as by a strict API server."""
    for kind, each in found.items():
        if kind.lower() in OF_OPERATORS:
            schema = json.loads((Path(__file__).with_name("schemas") / f"{kind.lower()}.json").read_text("utf-8"))
            jsonschema.validate(each, schema)
        else:
            kubernetes_validate.validate(each, kubernetes, strict=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_helm_finds_nothing_wrong_with_the_chart_and_its_examples(helm: str, example: Path) -> None:
    lint(helm, "-f", example)


@pytest.mark.parametrize("kubernetes", KUBERNETES)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_fit_the_schemas_of_kubernetes_and_operators(helm: str, example: Path, kubernetes: str) -> None:
    check(render_file(helm, example, kubernetes), kubernetes)


@pytest.mark.parametrize("by", ["prometheus", "kafka"])
@pytest.mark.parametrize("is_static", [False, True])
def test_every_value_at_once_fits_them_too(helm: str, by: str, is_static: bool, tmp_path: Path) -> None:
    values = {
        **EVERYTHING,
        "settings": {**PLAIN["settings"], **SHOP},
        "staticMembership": {"enabled": is_static},
        "autoscaling": {**BY_PROMETHEUS, "by": by, "authenticationRef": "shop-kafka"},
    }
    for kubernetes in KUBERNETES:
        check(render(helm, values, tmp_path, kubernetes), kubernetes)
    found = render(helm, values, tmp_path)
    assert set(found) == {
        *("ConfigMap", "Secret", "StatefulSet" if is_static else "Deployment", "PodDisruptionBudget"),
        *("PodMonitor", "PrometheusRule", "ScaledObject"),
        *(("Service",) if is_static else ()),
    }


def test_a_wrong_field_is_found_by_the_schemas(helm: str, tmp_path: Path) -> None:
    found = render(helm, {**PLAIN, "podMonitor": {"enabled": True}}, tmp_path)
    found["PodMonitor"]["spec"]["podMetricsEndpoint"] = []
    with pytest.raises(jsonschema.ValidationError, match="podMetricsEndpoint"):
        check({"PodMonitor": found["PodMonitor"]}, KUBERNETES[0])
    pod(found)["terminationGraceSeconds"] = 30
    with pytest.raises(kubernetes_validate.ValidationError, match="terminationGraceSeconds"):
        check({"Deployment": found["Deployment"]}, KUBERNETES[0])


def test_probes_ask_the_port_that_the_settings_name(helm: str, tmp_path: Path) -> None:
    found = render(helm, {**PLAIN, "settings": {"METRICS_PORT": 9300}}, tmp_path)
    [container] = pod(found)["containers"]
    assert container["ports"] == [{"name": "metrics", "containerPort": 9300}]
    assert [container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")] == [
        {"path": "/livez", "port": "metrics"},
        {"path": "/livez", "port": "metrics"},
        {"path": "/readyz", "port": "metrics"},
    ]
    assert environment(found).items() >= {"METRICS_ENABLED": "true", "METRICS_HOST": "0.0.0.0"}.items()  # noqa: S104


@pytest.mark.parametrize(("drain_ms", "pre_stop", "seconds"), [(None, 0, 20), (15_000, 0, 30), (0, 5, 20), (1, 0, 16)])
def test_a_pod_is_killed_only_after_all_that_a_stop_may_take(
    helm: str, drain_ms: int | None, pre_stop: int, seconds: int, tmp_path: Path
) -> None:
    settings = {} if drain_ms is None else {"EXECUTION_SHUTDOWN_DRAIN_TIMEOUT_MS": drain_ms}
    found = render(helm, {**PLAIN, "settings": settings, "preStopSeconds": pre_stop}, tmp_path)
    grace = pod(found)["terminationGracePeriodSeconds"]
    drain = 5.0 if drain_ms is None else drain_ms / 1000
    assert grace == seconds
    assert grace >= pre_stop + drain + closing.REST_SECONDS + closing.LET_GO_SECONDS + 4


def test_a_grace_period_by_name_is_taken(helm: str, tmp_path: Path) -> None:
    assert (
        pod(render(helm, {**PLAIN, "terminationGracePeriodSeconds": 0}, tmp_path))["terminationGracePeriodSeconds"] == 0
    )


def test_the_alerts_are_those_of_the_project(helm: str, tmp_path: Path) -> None:
    alerts = YAML(typ="safe").load(ROOT / "monitoring" / "alerts.yml")["groups"]
    found = render(helm, {**PLAIN, "prometheusRule": {"enabled": True, "without": []}}, tmp_path)
    assert found["PrometheusRule"]["spec"]["groups"] == alerts
    found = render(helm, {**PLAIN, "prometheusRule": {"enabled": True}}, tmp_path)
    left = [rule["alert"] for group in found["PrometheusRule"]["spec"]["groups"] for rule in group["rules"]]
    assert left == [rule["alert"] for group in alerts for rule in group["rules"] if rule["alert"] != "GroupLag"]


def test_pods_are_scraped_under_the_job_that_alerts_ask_for(helm: str, tmp_path: Path) -> None:
    found = render(helm, {**PLAIN, "podMonitor": {"enabled": True}}, tmp_path)
    [endpoint] = found["PodMonitor"]["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "pyrallel-consumer"}]
    assert 'job="pyrallel-consumer"' in (ROOT / "monitoring" / "alerts.yml").read_text("utf-8")
    labels = workload(found)["spec"]["template"]["metadata"]["labels"]
    for each in (found["PodMonitor"], found["PodDisruptionBudget"], workload(found)):
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()


class TestAutoscaling:
    def test_the_partitions_are_the_ceiling_of_the_replicas(self, helm: str, tmp_path: Path) -> None:
        for most, expected in ((None, 12), (5, 5), (40, 12)):
            found = render(helm, {**PLAIN, "autoscaling": {**BY_PROMETHEUS, "maxReplicas": most}}, tmp_path)
            assert found["ScaledObject"]["spec"]["maxReplicaCount"] == expected
            assert "replicas" not in workload(found)["spec"]

    def test_without_the_number_of_partitions_it_says_what_is_missing(self, helm: str, tmp_path: Path) -> None:
        with pytest.raises(HelmError, match="say how many partitions"):
            render(helm, {**PLAIN, "autoscaling": {**BY_PROMETHEUS, "partitions": None}}, tmp_path)

    def test_it_asks_for_the_lag_of_this_release(self, helm: str, tmp_path: Path) -> None:
        found = render(helm, {**PLAIN, "autoscaling": BY_PROMETHEUS}, tmp_path)
        [trigger] = found["ScaledObject"]["spec"]["triggers"]
        query = 'sum(consumer_broker_lag{namespace="trade",app_kubernetes_io_instance="shop"})'
        assert trigger["metadata"]["query"] == query
        assert trigger["metadata"]["ignoreNullValues"] == "false"

    def test_only_kafka_wakes_a_service_that_has_no_pod(self, helm: str, tmp_path: Path) -> None:
        with pytest.raises(HelmError, match="minReplicas: 0 needs"):
            render(helm, {**PLAIN, "autoscaling": {**BY_PROMETHEUS, "minReplicas": 0}}, tmp_path)
        values = {**PLAIN, "settings": SHOP, "autoscaling": {**BY_PROMETHEUS, "by": "kafka", "minReplicas": 0}}
        assert render(helm, values, tmp_path)["ScaledObject"]["spec"]["minReplicaCount"] == 0

    @pytest.mark.parametrize(("topic", "shown"), [("orders", "orders"), ("a,b", None), ("^orders-.*", None)])
    def test_kafkas_lag_is_of_the_topic_or_of_all_the_groups(
        self, helm: str, topic: str, shown: str | None, tmp_path: Path
    ) -> None:
        values = {
            **PLAIN,
            "settings": {**SHOP, "PYRALLEL_TOPIC": topic},
            "autoscaling": {**BY_PROMETHEUS, "by": "kafka"},
        }
        [trigger] = render(helm, values, tmp_path)["ScaledObject"]["spec"]["triggers"]
        assert trigger["metadata"].get("topic") == shown
        assert trigger["metadata"]["bootstrapServers"] == "a:1,b:2"
        assert trigger["metadata"]["consumerGroup"] == "shop"


class TestStaticMembership:
    def test_the_pods_name_is_the_members(self, helm: str, tmp_path: Path) -> None:
        settings = {"KAFKA_LIBRDKAFKA": {"client.rack": "a"}}
        found = render(helm, {**PLAIN, "settings": settings, "staticMembership": {"enabled": True}}, tmp_path)
        given = json.loads(environment(found, "shop-1")["KAFKA_LIBRDKAFKA"])
        assert given == {"client.rack": "a", "group.instance.id": "shop-1"}
        assert workload(found)["kind"] == "StatefulSet"

    def test_client_settings_in_the_secret_would_be_lost_and_are_refused(self, helm: str, tmp_path: Path) -> None:
        values = {**PLAIN, "secretSettings": {"KAFKA_LIBRDKAFKA": "{}"}, "staticMembership": {"enabled": True}}
        with pytest.raises(HelmError, match="KAFKA_LIBRDKAFKA"):
            render(helm, values, tmp_path)


def test_processes_are_as_many_as_the_limit_has_cores(helm: str, tmp_path: Path) -> None:
    values = {**PLAIN, "settings": {"EXECUTION_MODE": "process"}, "resources": {"limits": {"cpu": "4"}}}
    [container] = pod(render(helm, values, tmp_path))["containers"]
    [variable] = [each for each in container["env"] if each["name"] == "EXECUTION_WORKER_POOL_SIZE"]
    assert variable["valueFrom"]["resourceFieldRef"]["resource"] == "limits.cpu"
    values["settings"]["EXECUTION_WORKER_POOL_SIZE"] = 2
    assert environment(render(helm, values, tmp_path))["EXECUTION_WORKER_POOL_SIZE"] == "2"


def test_a_changed_setting_restarts_the_pods(helm: str, tmp_path: Path) -> None:
    def marks(values: dict[str, Any]) -> str:
        return str(workload(render(helm, values, tmp_path))["spec"]["template"]["metadata"]["annotations"])

    assert marks(PLAIN) == marks(PLAIN)
    assert marks(PLAIN) != marks({**PLAIN, "secretSettings": {"KAFKA_SASL_PASSWORD": "new"}})


def test_the_image_must_be_named(helm: str, tmp_path: Path) -> None:
    with pytest.raises(HelmError, match="name the image of your worker"):
        render(helm, {}, tmp_path)
    digest = "sha256:" + "0" * 64
    [container] = pod(render(helm, {"image": {"repository": "shop", "digest": digest}}, tmp_path))["containers"]
    assert container["image"] == f"shop@{digest}"
