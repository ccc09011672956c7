"""The tests' own order: what test modules share is in tests/support; and tests and pages that prose names exist."""

import ast
import re

import pytest

from tests.support.commands import ROOT

PROSE = ["README.md", "CHANGELOG.md", "docs/**/*.md", "scripts/*", "tests/**/*.py", "benchmarks/*.py"]


def imported(path) -> set[str]:
    """Modules that a file imports, with every name that may be one."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module or ''}.{alias.name}" for alias in node.names}
    return found


def test_no_test_module_is_imported():
    for path in (ROOT / "tests").rglob("*.py"):
        modules = {name for name in imported(path) if re.search(r"(^|\.)(test_\w+|conftest)$", name)}
        files = {name for name in modules if (ROOT / f"{name.replace('.', '/')}.py").exists()}
        assert not files, f"{path.relative_to(ROOT)} imports {files}: what is shared belongs in tests/support"


@pytest.mark.parametrize("where", PROSE)
def test_the_tests_and_pages_that_are_named_exist(where):
    for path in ROOT.glob(where):
        if path.is_file() and path.suffix in (".md", ".py", ".sh"):
            named = set(re.findall(r"(?<![\w/.])(?:tests|docs)/[\w/-]+(?:\.\w+)?", path.read_text()))
            missing = {name for name in named if not (ROOT / name).exists()}
            assert not missing, f"{path.relative_to(ROOT)} names {missing}"


def test_folders_of_the_package_import_each_other_in_no_circle():
    package, needs = ROOT / "fairseq_smt", {}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        imports = re.findall(r"fairseq_smt\.(\w+)", "\n".join(imported(path)))
        if parts != ("__init__",):  # which imports all of them
            needs.setdefault(parts[0], set()).update(set(imports) - {parts[0]})
    rooms, below = {name for name in needs if (package / name).exists() or (package / f"{name}.py").exists()}, set()
    while free := {name for name in rooms - below if needs[name] & rooms <= below}:
        below |= free
    assert not rooms - below, {name: needs[name] & rooms - below for name in rooms - below}
