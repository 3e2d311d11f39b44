"""Every finding of ``runfleet doctor`` has a row in ``docs/operate.md``, and every row is a finding."""

import ast
import re
from pathlib import Path

from shared.store.preflight import EVICTION_CURE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text("utf-8")
SOURCES = ("doctor", "findings", "redis_findings", "fleet_findings")
RANK = ("ok", "info", "warning", "error")


def rows() -> dict[str, str]:
    """Code → the worst level that the page tells of."""
    table = PAGE.partition("## Findings")[2]
    return dict(re.findall(r"^\| `([a-z-]+)` \| (\w+) \|", table, re.MULTILINE))


def literal(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return literal(node.body) + literal(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def findings() -> dict[str, set[str]]:
    """Code → the levels with which the code makes it."""
    found: dict[str, set[str]] = {}
    for name in SOURCES:
        for node in ast.walk(ast.parse((ROOT / "shared" / "cli" / f"{name}.py").read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id == "Finding":
                for code in literal(node.args[0]):
                    found.setdefault(code, set()).update(literal(node.args[1]))
            elif node.func.id == "unread":
                found.setdefault(literal(node.args[0])[0], set()).add("info")
    return found


def test_every_finding_has_a_row_with_its_worst_level() -> None:
    assert rows() == {code: max(levels, key=RANK.index) for code, levels in findings().items()}


def test_every_row_has_four_cells() -> None:
    table = [line for line in PAGE.partition("## Findings")[2].splitlines() if line.startswith("|")]
    assert [line for line in table if line.count("|") != 5] == []


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGE)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_the_page_and_the_processes_name_the_same_cure_for_an_eviction_policy() -> None:
    command = "CONFIG SET maxmemory-policy noeviction"
    assert EVICTION_CURE.startswith(command)
    assert f"`{command}`" in PAGE
