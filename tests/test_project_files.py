"""The files around the code are valid and agree: licence, versions, constraints, and the workflow for GitHub."""

import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from common.settings import ROOT

WORKFLOW = ".github/workflows/tests.yml"
PINNED = re.compile(r"[a-z0-9-]+==\S+( ; .+)?")
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(text_of("pyproject.toml"))["project"]


def constraints() -> list[Requirement]:
    return [Requirement(line) for line in text_of("constraints.txt").splitlines()]


@pytest.mark.parametrize(
    ("name", "schema"), [(WORKFLOW, "vendor.github-workflows"), ("CITATION.cff", "vendor.citation-file-format")]
)
def test_a_file_follows_its_published_schema(name: str, schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / name)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_workflow_runs_make_check_and_make_test_on_linux_and_macos_with_every_python() -> None:
    jobs = YAML(typ="safe").load(text_of(WORKFLOW))["jobs"]
    commands = [step.get("run") for job in jobs.values() for step in job["steps"]]
    assert {"make check", "make test", "make newest"} <= set(commands)
    matrix = jobs["test"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-latest", "macos-latest"]
    assert tuple(matrix["python-version"]) == PYTHONS


def test_the_licence_is_the_one_that_is_declared() -> None:
    assert text_of("LICENSE").startswith("MIT License\n")
    assert project()["license"] == YAML(typ="safe").load(text_of("CITATION.cff"))["license"] == "MIT"


def test_the_newest_version_of_the_changelog_is_the_version_everywhere() -> None:
    version, date = re.findall(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", text_of("CHANGELOG.md"), re.MULTILINE)[0]
    citation = YAML(typ="safe").load(text_of("CITATION.cff"))
    assert project()["version"] == citation["version"] == version
    assert str(citation["date-released"]) == date


def test_the_constraints_are_exact_versions_and_hold_no_address() -> None:
    assert all(PINNED.fullmatch(line) for line in text_of("constraints.txt").splitlines())


@pytest.mark.parametrize("python", PYTHONS)
def test_each_package_that_is_asked_for_has_one_version_that_its_range_allows(python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    pinned: dict[str, str] = {}
    for one in constraints():
        if not one.marker or one.marker.evaluate(environment):
            assert one.name not in pinned, f"{one.name} has two versions"
            pinned[one.name] = str(one.specifier).removeprefix("==")
    wanted = [
        *project()["dependencies"],
        *(line for lines in project()["optional-dependencies"].values() for line in lines),
    ]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name != project()["name"]:
            assert requirement.specifier.contains(pinned[name]), f"run `make constraints`: {requirement}"
