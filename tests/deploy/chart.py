"""The chart, rendered by Helm: its objects as Kubernetes would get them, and the environment that they give a pod."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
HELM = ROOT / ".tools" / "helm" / "helm"
CHART = ROOT / "deploy" / "helm" / "pyrallel-consumer"
EXAMPLES = sorted((ROOT / "deploy" / "helm" / "examples").glob("*.yaml"))
KUBERNETES = ("1.27", "1.31", "1.35")
"""Versions that the chart is checked against, its oldest one first."""

Objects = dict[str, dict[str, Any]]


def lint(helm: str, *arguments: str | Path) -> str:
    return _run([helm, "lint", "--strict", CHART, *arguments])


def render(helm: str, values: Mapping[str, Any], folder: Path, kubernetes: str = KUBERNETES[-1]) -> Objects:
    """The objects by their kind, of a release ``shop`` in the namespace ``trade``."""
    path = folder / "values.yaml"
    YAML(typ="safe").dump(dict(values), path)
    return render_file(helm, path, kubernetes)


def render_file(helm: str, path: Path, kubernetes: str = KUBERNETES[-1]) -> Objects:
    text = _run([helm, "template", "shop", CHART, "--namespace", "trade", "--kube-version", kubernetes, "-f", path])
    found = [each for each in YAML(typ="safe").load_all(text) if each]
    assert len({each["kind"] for each in found}) == len(found)
    return {each["kind"]: each for each in found}


def workload(objects: Objects) -> dict[str, Any]:
    [found] = [objects[kind] for kind in ("Deployment", "StatefulSet") if kind in objects]
    return found


def pod(objects: Objects) -> dict[str, Any]:
    found = workload(objects)["spec"]["template"]["spec"]
    assert isinstance(found, dict)
    return found


def environment(objects: Objects, pod_name: str = "shop-0") -> dict[str, str]:
    """The container's environment: ConfigMap and Secret in the order of ``envFrom``, then ``env``."""
    [container] = pod(objects)["containers"]
    found: dict[str, str] = {}
    for source in container["envFrom"]:
        if "configMapRef" in source:
            assert source["configMapRef"]["name"] == objects["ConfigMap"]["metadata"]["name"]
            found |= objects["ConfigMap"]["data"]
        elif source["secretRef"]["name"] == objects.get("Secret", {"metadata": {"name": None}})["metadata"]["name"]:
            secret = objects["Secret"]["data"]
            found |= {name: base64.b64decode(value).decode() for name, value in secret.items()}
    for variable in container["env"]:
        if "value" in variable:
            found[variable["name"]] = variable["value"].replace("$(POD_NAME)", pod_name)
        elif "fieldRef" in variable["valueFrom"]:
            found[variable["name"]] = pod_name
    return found


def _run(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HelmError(done.stdout + done.stderr)
    return done.stdout


class HelmError(Exception):
    """Helm refused the values; the text is Helm's."""
