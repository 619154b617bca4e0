"""Alerts use counters that the pipeline has, and link a section of their own and runbooks that exist."""

import ast
import re
from pathlib import Path

from tests.unit.test_docs import leads_nowhere
from transforms.score.shadow_scores import SHADOW_COUNTERS

ROOT = Path(__file__).parents[3]
ALERTS = (ROOT / "infrastructure" / "monitoring.tf").read_text(encoding="utf-8")
DASHBOARD = (ROOT / "infrastructure" / "dashboard.tf").read_text(encoding="utf-8")


def test_every_counter_is_one_that_the_pipeline_counts() -> None:
    """An alert on a renamed counter would never fire."""
    named = set(re.findall(r"\b[a-z_]+_total\b", ALERTS + DASHBOARD))
    assert len(named) > 5
    assert named <= _counters()


def test_every_alert_has_its_section_and_no_section_is_left() -> None:
    """Each alert has a section of its name in docs/monitoring.md, and no section is left over."""
    alerts = set(re.findall(r'^    "([a-z-]+)" = \{$', ALERTS, flags=re.MULTILINE))
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    assert len(alerts) > 10
    assert set(re.findall(r"^### ([a-z-]+)$", page, flags=re.MULTILINE)) == alerts


def test_every_alert_links_its_section_and_a_runbook_that_exists() -> None:
    """Links lead to a document in docs/ and, after #, to one of its headings."""
    links = re.findall(r'"\$\{var\.docs_url\}/([^"]+)"', ALERTS)
    assert set(links) == {"monitoring.md#${each.key}", "${links.value.path}"}
    alerts = re.findall(r'^    "([a-z-]+)" = \{$', ALERTS, flags=re.MULTILINE)
    runbooks = dict(
        re.findall(r'^    "([a-z-]+)" += \{ title = "[^"]+", path = "([^"]+)" \}$', ALERTS, flags=re.MULTILINE)
    )
    assert len(runbooks) > 3
    assert set(runbooks) <= set(alerts)
    targets = [*(f"monitoring.md#{alert}" for alert in alerts), *runbooks.values()]
    assert [target for target in targets if leads_nowhere(ROOT / "docs" / "monitoring.md", target)] == []


def _counters() -> set[str]:
    """Return the names of all counters in the code."""
    names = set()
    for path in (*(ROOT / "transforms").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "counter":
                names |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
                prefixed = {ast.unparse(it).replace("{prefix}", "")[2:-1] for it in node.args if _is_prefixed(it)}
                names |= prefixed | {f"{SHADOW_COUNTERS}{name}" for name in prefixed}
    return {name for name in names if isinstance(name, str)}


def _is_prefixed(argument: ast.expr) -> bool:
    """Return whether a name is an f-string that begins with the prefix of a shadow's counters."""
    return isinstance(argument, ast.JoinedStr) and ast.unparse(argument)[2:].startswith("{prefix}")
