"""``docs/settings.md`` and ``.env.example`` say what ``shared.settings`` does."""

import ast
import re
from pathlib import Path

import msgspec

from docs.generate.settings import env_example
from shared.settings import HELP, Settings, read_settings, variable

ROOT = Path(__file__).parents[2]
FIELDS = [field.name for field in msgspec.structs.fields(Settings)]


def test_every_setting_has_its_help_and_no_other_has() -> None:
    assert sorted(HELP) == sorted(FIELDS)


def test_the_example_environment_holds_the_defaults() -> None:
    lines = re.findall(r"^#(RUNFLEET_\w+)=(.*)$", env_example(), re.MULTILINE)
    assert [name for name, _ in lines] == [variable(name) for name in FIELDS]
    assert read_settings(dict(lines)) == read_settings({})


def test_the_code_reads_no_variable_that_is_not_documented() -> None:
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    unknown: list[str] = []
    for package in ("api", "worker", "scheduler", "shared"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                    continue
                if re.fullmatch(r"RUNFLEET_[A-Z_]*[A-Z]", node.value) and f"`{node.value}`" not in page:
                    unknown.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.value}")
    assert unknown == []
