"""What is known against our code (bandit) and against every pinned dependency (pip-audit); arguments go to pip-audit.

Its exit code: 0 for nothing, 1 for a finding, 69 when nothing was found but no advisory source answered for all
dependencies. That is no pass: an audit that did not take place must not look like one in a pipeline.
"""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
SOURCES = ("pypi", "osv")
SECONDS = 120  # that all questions to one source may take together
BANDIT = "--quiet --configfile pyproject.toml --confidence-level medium --recursive"
PIP_AUDIT = "--disable-pip --require-hashes --requirement /dev/stdin --format json --progress-spinner off --timeout 10"

# Without the conditions, so that what is installed on other machines is asked about too.
LOCK = re.sub(r" ; .*(?= \\$)", "", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
PINNED = set(re.findall(r"^([a-z\d-]+)==", LOCK, flags=re.MULTILINE))


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def code_is_clean() -> bool:
    words = [tool("bandit"), *BANDIT.split(), "src"]
    clean = subprocess.run(words, cwd=ROOT).returncode == 0
    print("bandit: nothing found in src" if clean else "bandit: see above", flush=True)
    return clean


def ask(source: str) -> tuple[list[str], str | None]:
    """What a source knows against the dependencies, and why it did not answer for all of them, if it did not."""
    words = [tool("pip-audit"), *PIP_AUDIT.split(), "--vulnerability-service", source, *sys.argv[1:]]
    try:
        asked = subprocess.run(words, input=LOCK, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {SECONDS} seconds"
    try:
        told = json.loads(asked.stdout)["dependencies"]
    except ValueError:
        return [], ["no answer", *asked.stderr.splitlines()][-1]
    findings = [
        f"{dependency['name']} {dependency['version']}: {' '.join([known['id'], *known['aliases']])}, "
        f"mended in {' '.join(known['fix_versions']) or 'no version'}"
        for dependency in told
        for known in dependency.get("vulns", ())
    ]
    # A dependency that pip-audit skips is in its answer too, but without a version, and its exit code is still 0.
    unknown = PINNED - {dependency["name"] for dependency in told if "version" in dependency}
    names = textwrap.shorten(", ".join(sorted(unknown)), 100, placeholder=" ...")
    return findings, f"{len(unknown)} of {len(PINNED)} dependencies are unknown to it: {names}" if unknown else None


def dependencies() -> int:
    """The exit code by the first source that knows something or answers for all."""
    for source in SOURCES:
        findings, complaint = ask(source)
        for finding in findings:
            print(f"pip-audit: {finding}")
        if complaint:
            print(f"pip-audit: {source}: {complaint}", file=sys.stderr)
        if findings:
            return 1
        if not complaint:
            print(f"pip-audit: nothing is known against the {len(PINNED)} dependencies ({source})")
            return 0
    print("no advisory source can be reached: the dependencies were not audited", file=sys.stderr)
    return UNAVAILABLE


if __name__ == "__main__":
    clean = code_is_clean()
    verdict = dependencies()
    sys.exit(verdict if clean else 1)
