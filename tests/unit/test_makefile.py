import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()


def make(*words: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *words], cwd=cwd, env=plain, capture_output=True, text=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def made_venv(clone: Path, place: Path) -> None:
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/bin/python").symlink_to(sys.executable)
    (clone / ".venv/made-for").write_text(str(place))


def python_where(clone: Path, tells: str) -> str:
    program = clone / f"python-{len(tells)}"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; {tells}; exec(sys.argv[1])" "$2"\n')
    program.chmod(0o755)
    return f"PYTHON={program}"


def test_make_alone_lists_every_target() -> None:
    listed = set(re.findall(r"^  make (\S+) +\S", make().stdout, re.M))
    declared = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[0].split()
    assert listed == set(declared) - {"remake"}
    assert listed >= {
        "install",
        "run",
        "run-memory",
        "test",
        "test-faults",
        "check",
        "fmt",
        "lock",
        "migrate",
        "revision",
        "bench",
        "audit",
        "sbom",
        "clean",
    }


def test_the_python_where_is_missing_too_old_or_without_venv_is_told_in_one_line(clone: Path) -> None:
    for given, wanted in (
        ("PYTHON=no-such-python", "there is no no-such-python"),
        (
            python_where(clone, "sys.version_info = (3, 10, 9); sys.version = '3.10.9 old'"),
            "3.11 or newer and .* is 3.10.9",
        ),
        (
            python_where(clone, "sys.modules['ensurepip'] = None"),
            "has no venv module: on Debian, apt install python3-venv",
        ),
    ):
        done = make(given, "install", cwd=clone)
        first, second = done.stderr.splitlines()
        assert re.search(wanted, first)
        assert second.startswith("make: ***")
        assert not (clone / ".venv").exists()


def test_a_whole_venv_is_not_made_again(clone: Path) -> None:
    made_venv(clone, clone)
    assert make("--question", "install", cwd=clone).returncode == 0


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_venv_is_brought_up_to_date_when_what_it_is_made_from_changes(clone: Path, name: str) -> None:
    made_venv(clone, clone)
    os.utime(clone / name, (4e9, 4e9))
    told = make("--dry-run", "install", cwd=clone).stdout
    assert "--no-deps --require-hashes -r requirements.lock" in told
    assert "venv --clear" not in told


def test_a_venv_that_is_half_made_moved_or_without_its_python_is_made_from_nothing(clone: Path) -> None:
    made_venv(clone, clone / "elsewhere")
    assert "venv --clear" in make("--dry-run", "install", cwd=clone).stdout
    (clone / ".venv/made-for").unlink()
    assert "venv --clear" in make("--dry-run", "install", cwd=clone).stdout
    (clone / ".venv/made-for").write_text(str(clone))
    (clone / ".venv/bin/python").unlink()
    assert "venv --clear" in make("--dry-run", "install", cwd=clone).stdout


def test_run_takes_host_and_port_and_becomes_the_server(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_venv(clone, clone)
    told = make("--dry-run", "run", "PORT=9000", cwd=clone).stdout
    assert told == "exec .venv/bin/moviehub serve --host 127.0.0.1 --port 9000\n"
    monkeypatch.setenv("PORT", "9001")
    assert "--port 9001" in make("--dry-run", "run", cwd=clone).stdout
    monkeypatch.delenv("PORT")
    told = make("--dry-run", "run-memory", "HOST=0.0.0.0", cwd=clone).stdout
    assert told == "MOVIEHUB_DATABASE_URL=memory:// exec .venv/bin/moviehub serve --host 0.0.0.0 --port 8000\n"


def test_an_audit_takes_words_for_pip_audit_and_is_no_part_of_the_check(clone: Path) -> None:
    made_venv(clone, clone)
    told = make("--dry-run", "audit", "ARGS=--ignore-vuln CVE-2026-1", cwd=clone).stdout
    assert told == ".venv/bin/python scripts/audit.py --ignore-vuln CVE-2026-1\n"
    assert "audit" not in make("--dry-run", "check", cwd=clone).stdout


def test_a_revision_wants_to_be_told_what_changed(clone: Path) -> None:
    made_venv(clone, clone)
    done = make("revision", cwd=clone)
    assert done.returncode == 2
    assert 'make revision m="' in done.stderr


def test_the_lock_is_in_step_and_names_no_address() -> None:
    done = subprocess.run([sys.executable, "scripts/lock.py", "check"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('"msgspec>=', '"msgspec>0', "not in step with pyproject.toml: run make lock"),
        ("# made by", "# see https://example.org\n# made by", "holds an address"),
    ],
)
def test_a_lock_out_of_step_or_with_an_address_is_refused(clone: Path, old: str, new: str, complaint: str) -> None:
    (clone / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/lock.py", clone / "scripts")
    [changed] = [path for path in (clone / "pyproject.toml", clone / "requirements.lock") if old in path.read_text()]
    changed.write_text(changed.read_text().replace(old, new, 1))
    done = subprocess.run([sys.executable, "scripts/lock.py", "check"], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 1
    assert complaint in done.stderr


def test_continuous_integration_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert re.findall(r"^step (.*)$", script.read_text(), re.M)[-2:] == ["make check", "make test"]
