"""The house rules that no linter knows, and proof that those it knows would be broken by a violation."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "moviehub"
NOUNS = ("movies", "users", "sessions", "ratings", "favorites", "audit")

VIOLATIONS = {
    "domain/pages.py": "import moviehub.application.ports",
    "domain/favorites.py": "import moviehub.domain.movies",
    "application/users.py": "import moviehub.application.sessions",
    "application/ratings.py": "import msgspec",
    "adapters/tmdb/transport.py": "import opentelemetry",
    "adapters/jwt/tokens.py": "import dependency_injector, moviehub.adapters.bcrypt.passwords",
    "entrypoints/harness.py": "import moviehub.entrypoints.http.app",
    "entrypoints/http/pages.py": "import moviehub.adapters.demo.catalogue",
    "fifth/__init__.py": "",
}


def lint_imports(folder: Path) -> str:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout


def test_every_import_contract_is_broken_by_a_violation(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "src" / "moviehub", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line in VIOLATIONS.items():
        path = tmp_path / "src" / "moviehub" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    verdicts = re.findall(r"^(.+) (KEPT|BROKEN)$", lint_imports(tmp_path), re.MULTILINE)
    contracts = re.findall(r'^name = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert len(contracts) == 10  # nine contracts and the project's own name
    assert [verdict for verdict in verdicts if verdict[1] == "KEPT"] == []
    assert len(verdicts) == 9


@pytest.mark.parametrize("ring", ["domain", "application"])
def test_the_core_imports_the_standard_library_and_itself_alone(ring: str) -> None:
    for path in (SOURCE / ring).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path} imports relatively"
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or name.startswith(("moviehub.domain", "moviehub.application")), (
                    f"{path} imports {name}"
                )


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_has_its_files(noun: str) -> None:
    for ring in ("domain", "application", "adapters/memory", "adapters/postgres", "entrypoints/http"):
        assert (SOURCE / ring / f"{noun}.py").is_file(), f"{ring} lacks {noun}.py"


def test_no_file_is_longer_than_three_hundred_lines() -> None:
    payloads = {"common_passwords.py", "tables.py"}
    long = {path: n for path in SOURCE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 300}
    assert {path: n for path, n in long.items() if path.name not in payloads} == {}


def test_bootstrap_stays_small() -> None:
    assert len((SOURCE / "entrypoints" / "bootstrap" / "__init__.py").read_text().splitlines()) <= 200


def test_there_are_no_drawers() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "managers", "service"}
    assert [path for path in SOURCE.rglob("*.py") if path.stem in drawers] == []


def test_the_project_speaks_of_no_folder_outside_itself() -> None:
    outside = re.compile(r"\.\./" + r"shared|(?<![\w.])/(?:work|root|farm)/\w")
    kept = [ROOT, *(ROOT / name for name in ("src", "tests", "scripts", "deploy", ".ci"))]
    paths = [path for folder in kept for path in (folder.iterdir() if folder == ROOT else folder.rglob("*"))]
    read = [path for path in paths if path.is_file() and path.suffix != ".pyc" and path.name != ".coverage"]
    assert len(read) > 100
    assert [path for path in read if outside.search(path.read_text(errors="ignore"))] == []
