"""`make audit` with the real pip-audit, which asks an advisory source of our own on loopback."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

ROOT = Path(__file__).parents[2]
KNOWN = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "summary": "A hole.", "affected": []}


class Source(ThreadingHTTPServer):
    """It speaks as OSV does: of each package it knows nothing but what it was told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.known_against = ""
        self.asked: list[str] = []
        self.silent = False
        self.over = Event()


class Answer(BaseHTTPRequestHandler):
    """One question and its answer."""

    server: Source
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def do_POST(self) -> None:
        name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
        self.server.asked.append(name)
        if self.server.silent:
            self.server.over.wait()
        body = json.dumps({"vulns": [KNOWN]} if name == self.server.known_against else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing is said of a request."""


@pytest.fixture
def source() -> Iterator[Source]:
    with Source() as source:
        thread = Thread(target=source.serve_forever)
        thread.start()
        yield source
        source.over.set()
        source.shutdown()
        thread.join()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of the repository as an audit looks at, without code."""
    for name in ("pyproject.toml", "requirements.lock", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "src").mkdir()
    return tmp_path


def audit(source: Source, clone: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """An audit for which PyPI is behind a proxy that nothing listens at, and OSV is ours."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    closed = {"HTTPS_PROXY": "http://127.0.0.1:1", "PIP_NO_CACHE_DIR": "1", "XDG_CACHE_HOME": str(clone)}
    words = [sys.executable, "scripts/audit.py", "--osv-url", f"http://127.0.0.1:{source.server_port}", *more]
    return subprocess.run(words, cwd=clone, env={**plain, **closed}, capture_output=True, text=True)


def test_every_package_of_the_lock_is_asked_about_and_what_is_known_fails(source: Source, clone: Path) -> None:
    source.known_against = "httpx"

    done = audit(source, clone)

    lock = (clone / "requirements.lock").read_text()
    assert source.asked == [line.partition("==")[0] for line in lock.splitlines() if "==" in line]
    assert re.search(
        r"^pip-audit: httpx \S+: PYSEC-2026-1 CVE-2026-1, mended in no version$", done.stdout, re.MULTILINE
    )
    assert done.returncode == 1


def test_nothing_known_passes_and_so_does_what_was_judged_before(source: Source, clone: Path) -> None:
    source.known_against = "httpx"

    done = audit(source, clone, "--ignore-vuln", "CVE-2026-1")

    assert f"nothing is known against the {len(source.asked)} dependencies (osv)" in done.stdout
    assert done.returncode == 0


def test_a_source_that_does_not_answer_is_not_waited_for(source: Source, clone: Path) -> None:
    source.silent = True

    done = audit(source, clone, "--timeout", "1")

    assert len(source.asked) == 1
    assert done.stderr.endswith("no advisory source can be reached: the dependencies were not audited\n")
    assert done.returncode == 69
