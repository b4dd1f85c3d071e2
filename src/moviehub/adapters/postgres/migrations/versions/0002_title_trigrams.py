"""An index for titles that are sought by a part of them, on servers that offer trigrams."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index if the extension is there or can be had; without it searches are slower and find the same."""
    op.execute(
        """
        DO $$
        BEGIN
            BEGIN
                CREATE EXTENSION IF NOT EXISTS pg_trgm;
            EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file THEN
                RAISE NOTICE 'pg_trgm cannot be had (%): titles are searched without an index', SQLERRM;
            END;
            IF EXISTS (SELECT FROM pg_opclass WHERE opcname = 'gin_trgm_ops' AND pg_opclass_is_visible(oid)) THEN
                CREATE INDEX ix_movies_title_key_trigrams ON movies USING gin (title_key gin_trgm_ops);
            END IF;
        END $$
        """
    )


def downgrade() -> None:
    """Drop the index; the extension stays, since others may use it."""
    op.execute("DROP INDEX IF EXISTS ix_movies_title_key_trigrams")
