import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRIZES = """
import sqlalchemy as sa
sa.Table("prizes", metadata, sa.Column("name", sa.Text))
"""


def test_a_new_migration_holds_what_changed_in_the_tables(tmp_path: Path) -> None:
    for name in ("src", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    tables = tmp_path / "src/moviehub/adapters/postgres/tables.py"
    tables.write_text(tables.read_text() + PRIZES)
    versions = tmp_path / "src/moviehub/adapters/postgres/migrations/versions"
    before = set(versions.glob("*.py"))

    done = subprocess.run(
        [sys.executable, "scripts/revision.py", "add prizes"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

    [added] = set(versions.glob("*.py")) - before
    assert added.name == f"{len(before) + 1:04}_add_prizes.py"
    assert added.read_text().count("op.") == 2  # one table made, and dropped on the way down: no more
    assert 'op.create_table("prizes"' in added.read_text().replace("\n        ", "").replace("'", '"')
