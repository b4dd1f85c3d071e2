"""Whether requirements.lock was made from what pyproject.toml asks for now; `write` makes it anew."""

import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
LOCK = ROOT / "requirements.lock"
COMPILE = "pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --all-extras --group dev"


def first_line() -> str:
    """The line that a lock in step begins with: a hash of every part of pyproject.toml that names a dependency."""
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    parts = [project[key] for key in ("requires-python", "dependencies", "optional-dependencies")]
    parts += [told["dependency-groups"], told["build-system"]["requires"]]
    return f"# made by `make lock` from {hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()}\n"


def check() -> str | None:
    """What is wrong with the lock, if anything."""
    lock = LOCK.read_text()
    if "://" in lock:
        return "requirements.lock holds an address"
    if not lock.startswith(first_line()):
        return "requirements.lock is not in step with pyproject.toml: run make lock"
    return None


def write() -> str | None:
    """Make the lock, keeping the versions it pins already unless `--upgrade` is given."""
    uv = Path(sys.executable).with_name("uv")
    before = LOCK.read_text()
    words = [str(uv), *COMPILE.split(), *sys.argv[2:], "pyproject.toml", "-o", LOCK.name]
    made = subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL)
    after = LOCK.read_text()
    if made.returncode or "://" in after:
        LOCK.write_text(before)
        return "requirements.lock is as it was: " + ("uv failed" if made.returncode else "an address got in")
    LOCK.write_text(first_line() + after)
    return None


if __name__ == "__main__":
    sys.exit({"check": check, "write": write}[sys.argv[1]]())
