"""The distributions hold everything that the package needs at run time, the status page's files included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "pyrallel_consumer"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    return folder


def in_the_tree() -> set[str]:
    files = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_every_package_that_is_imported_is_declared() -> None:
    # What brings pydantic_core names its exact release; who tests an engine with the contract brings pytest.
    elsewhere = {"pydantic_core", "pytest", "pytest_asyncio", "pyrallel_consumer"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [each for extra in project["optional-dependencies"].values() for each in extra]
    declared = {re.split(r"[^\w.-]", each)[0].replace("_", "-") for each in (*project["dependencies"], *extras)}
    imported = {
        name.partition(".")[0]
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in ([each.name for each in node.names] if isinstance(node, ast.Import) else [])
        + ([node.module or ""] if isinstance(node, ast.ImportFrom) else [])
    }
    foreign = imported - sys.stdlib_module_names - elsewhere
    distributions = {
        name: {each.replace("_", "-") for each in bringers} for name, bringers in packages_distributions().items()
    }

    assert {name for name in foreign if declared.isdisjoint(distributions.get(name, {name}))} == set()


def test_the_wheel_has_every_file_of_the_package(built: Path) -> None:
    [wheel] = built.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    assert "pyrallel_consumer/observability/status/status_page/page.html" in shipped
    assert in_the_tree() - shipped == set()


def test_the_source_distribution_has_every_file_of_the_package(built: Path) -> None:
    [source] = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        shipped = {name.partition("/")[2] for name in archive.getnames()}
    assert in_the_tree() - shipped == set()
