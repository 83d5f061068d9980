"""Which of the two packages of this name is installed: the code knows its version, and warns of foreign metadata."""

from __future__ import annotations

import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import pyrallel_consumer
from pyrallel_consumer import release


def test_the_code_and_the_distribution_say_who_they_are() -> None:
    assert pyrallel_consumer.__version__ == release.VERSION
    assert pyrallel_consumer.__distribution__ == f"pyrallel-consumer {version('pyrallel-consumer')}"


def test_without_a_distribution_there_is_no_version_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert release.distribution() == "not installed"


def test_the_metadata_of_the_other_package_beside_this_code_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "pyrallel_consumer-1.0.0.dist-info").mkdir()
    with pytest.warns(RuntimeWarning, match=r"this is pyrallel_consumer .* pyrallel-consumer 1\.0\.0 is installed"):
        release.warn_of_another(str(tmp_path))


@pytest.mark.parametrize("names", [[], [f"pyrallel_consumer-{release.VERSION}.dist-info"], ["pyrallel_consumer-1.0.0"]])
def test_where_nothing_contradicts_there_is_no_warning(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        release.warn_of_another(str(tmp_path))
        release.warn_of_another(str(tmp_path / "an-archive.zip"))
