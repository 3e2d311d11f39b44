"""The spawner imports the standard library and nothing else: any interpreter that a task names may execute it."""

import ast
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[2] / "worker" / "spawner").glob("*.py"))
NEIGHBOURS = {file.stem for file in FILES}


def imported(source: str) -> set[str]:
    """The modules that *source* imports anywhere, for type checking too; of ``worker.spawner`` only the last part."""
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            modules |= {alias.name for alias in node.names} if module == "worker.spawner" else {module}
    return {module.removeprefix("worker.spawner.").partition(".")[0] or module for module in modules}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_imports_the_standard_library_and_its_neighbours(file: Path) -> None:
    assert imported(file.read_text("utf-8")) - sys.stdlib_module_names - NEIGHBOURS == set()


def test_what_is_ours_or_a_dependency_is_seen() -> None:
    source = "import msgspec\nimport server, shared.ids\nfrom worker.spawner.spawn import x\nfrom . import y\n"
    assert imported(source) - sys.stdlib_module_names - NEIGHBOURS == {"msgspec", "shared", "."}
