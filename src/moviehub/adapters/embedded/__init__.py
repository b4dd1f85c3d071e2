"""A private Postgres and Valkey, run from the wheels of the `local` extra, started and ended with us."""

from moviehub.adapters.embedded.postgres import PrivatePostgres, default_data_dir
from moviehub.adapters.embedded.process import EmbeddedError
from moviehub.adapters.embedded.valkey import PrivateValkey

__all__ = ["EmbeddedError", "PrivatePostgres", "PrivateValkey", "default_data_dir"]
