"""Writes the migration from the schema as migrated to the tables as declared, on a private Postgres made for it."""

import os
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config

from moviehub.adapters.embedded import PrivatePostgres
from moviehub.adapters.postgres import migrations

if __name__ == "__main__":
    config = Config()
    config.set_main_option("script_location", migrations.__path__[0].replace("%", "%%"))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        with PrivatePostgres(Path(folder) / "state", durable=False) as url:
            migrations.upgrade(url)
            os.environ["MOVIEHUB_DATABASE_URL"] = url
            number = int(migrations.head()) + 1
            command.revision(config, sys.argv[1], autogenerate=True, rev_id=f"{number:04}")
