"""The files around the code agree: versions, workflow, templates, and what SECURITY.md promises."""

import re
import tomllib

import yaml

import kseg
from tests.docs.blocks import ROOT


def test_all_files_give_the_same_version():
    weights = tomllib.loads((ROOT / "zoo/pyproject.toml").read_text())["project"]["version"]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    releases = re.findall(r"^## \[(\d[^]]*)] - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), flags=re.M)
    assert kseg.__version__ == weights == citation["version"] == releases[0][0]
    assert str(citation["date-released"]) == releases[0][1]
    assert extras["weights"] == [f"kseg-weights>={weights.rpartition('.')[0]}"]


def test_the_workflow_runs_the_command_of_ci_on_three_systems():
    (job,) = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"].values()
    assert job["steps"][-1]["run"] == (ROOT / ".ci/run").read_text().splitlines()[-1]
    machines = job["strategy"]["matrix"]["include"]
    assert {machine["system"].split("-")[0] for machine in machines} == {"ubuntu", "macos", "windows"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = {each.rsplit(" ", 1)[1] for each in project["classifiers"] if "Python :: 3." in each}
    assert {machine["python"] for machine in machines} == versions


def test_templates_are_read():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        content = yaml.safe_load(path.read_text())
        assert path.stem == "config" or {"name", "description", "body"} <= content.keys()


def test_what_security_promises_is_tested():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text("utf-8")))
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 8 and not [name for name in named if f"def {name}(" not in tests]
