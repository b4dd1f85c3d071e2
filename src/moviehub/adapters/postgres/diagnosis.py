"""What an operator wants to know of the server and of this database."""

from dataclasses import dataclass
from datetime import datetime

from moviehub.adapters.postgres.pool import Pool
from moviehub.adapters.postgres.statements import Statement

FACTS = Statement(
    """
    SELECT
        clock_timestamp() AS told_at,
        current_setting('server_version_num')::int / 10000 AS version,
        to_regoperator('%>(text,text)') IS NOT NULL AS compares_titles,
        CASE WHEN to_regclass('movies') IS NOT NULL
            THEN to_regclass('ix_movies_title_key_trigrams') IS NOT NULL END AS indexes_titles
    """,
    reads=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Facts alone; what they mean is for those who ask."""

    told_at: datetime
    """By the server's clock."""
    version: int
    """The major one."""
    compares_titles: bool
    """Whether pg_trgm is in this database."""
    indexes_titles: bool | None
    """Whether its index is; None where there is no table yet."""
    wanted: int
    """How many connections all workers together may want."""
    allowed: int | None
    """How many they can have; None where a pooler is between."""


async def diagnose(pool: Pool) -> Diagnosis:
    """Ask the server. Raises Unavailable."""
    (row,) = await pool.rows(FACTS)
    wanted, allowed = await pool.connections()
    return Diagnosis(**row, wanted=wanted, allowed=allowed)
