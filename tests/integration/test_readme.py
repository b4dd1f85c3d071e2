"""What the README shows and the Makefile does, done for real."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import ROOT, Server, ends, environment, serving

# An old file is not made again, whatever it depends on: no test installs anything.
MAKE = ("make", "--old-file=.venv/made-for", "run")


CURL = """
import argparse, sys, urllib.request
said = argparse.ArgumentParser()
said.add_argument("-s", action="store_true")
said.add_argument("-X")
said.add_argument("-H", action="append", default=[])
said.add_argument("-d")
said.add_argument("url")
said = said.parse_args()
headers = dict(line.split(": ", 1) for line in said.H)
body = said.d.encode() if said.d is not None else None
sys.stdout.write(urllib.request.urlopen(urllib.request.Request(said.url, body, headers, method=said.X)).read().decode())
"""
"""As much of curl as the session uses."""


@pytest.fixture
def run(server_folder: Path) -> Iterator[Server]:
    """`make run`, as in the README's first lines."""
    with serving(command=MAKE, DATA_DIR=str(server_folder / "state")) as server:
        yield server


def test_the_session_of_the_readme_works_while_make_run_serves_and_ctrl_c_ends_everything(
    run: Server, tmp_path: Path
) -> None:
    text = (ROOT / "README.md").read_text()
    (session,) = re.findall(r"^<!-- session -->\n```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    shown, ours = session.replace("BASE=http://127.0.0.1:8000\n", f"BASE={run.url}\n"), "BASE=http://"
    assert run.url in shown
    assert shown.count(ours) == 1
    (tmp_path / ".curlrc").write_text("fail\n")  # else curl is content with any answer
    stand_in = tmp_path / "curl"  # for machines that have none: to run the tests takes Python and make alone
    stand_in.write_text(f"#!{sys.executable}\n{CURL}")
    stand_in.chmod(0o755)
    done = subprocess.run(
        ["sh", "-eu"],
        input=shown,
        env={**environment(), "CURL_HOME": str(tmp_path), "PATH": f"{os.environ['PATH']}:{tmp_path}"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    last = done.stdout.rpartition("{\n")[2]
    assert '"average_rating": 9.0' in last
    assert '"ratings_count": 1' in last

    said = run.output
    assert said.startswith("\n  moviehub ")
    assert "  Ctrl-C ends everything.\n" in said
    processes = run.descriptors()
    os.killpg(run.process.pid, signal.SIGINT)
    assert ends(processes, 10.0)
    # make itself ends as the shell expects of a Ctrl-C; neither it nor the server has a word to say.
    assert run.process.wait() in (0, -signal.SIGINT)
    assert run.output == said
    assert list(run.scratch.iterdir()) == []


def test_what_make_run_would_do_is_to_become_the_server() -> None:
    told = subprocess.run([*MAKE, "--dry-run"], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert (told.stdout, told.stderr) == ("exec .venv/bin/moviehub serve --host 127.0.0.1 --port 8000\n", "")
