"""Since when the catalogue has a film no more, and indexes for the films and sessions whose time is over."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes and the column, which rewrites nothing."""
    # An index that is there was made beforehand without closing the table, as an operator of a big one does.
    op.create_index(
        "ix_sessions_expires_at",
        "sessions",
        ["expires_at"],
        postgresql_where=sa.text("ended_at IS NULL"),
        if_not_exists=True,
    )
    # The column first, though nobody reads films then until the index is made: taking the stronger lock after the
    # weaker one could end in a circle with those who read and write films.
    op.add_column("movies", sa.Column("dropped_at", sa.DateTime(timezone=True)))
    op.create_index("ix_movies_fetched_at_id", "movies", ["fetched_at", "id"], if_not_exists=True)


def downgrade() -> None:
    """Drop them, and with the column which films were marked."""
    op.drop_column("movies", "dropped_at")
    op.drop_index("ix_movies_fetched_at_id")
    op.drop_index("ix_sessions_expires_at")
