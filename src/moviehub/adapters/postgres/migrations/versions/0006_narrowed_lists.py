"""Indexes that tell by themselves which films a narrowed list shows, and one for both names of an account."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes unless they are there; an operator of a big table makes them beforehand, without closing it."""
    op.create_index(
        "ix_movies_popularity_id_covering",
        "movies",
        ["popularity", "id"],
        postgresql_include=["title_key", "vote_average", "release_date", "original_language", "genre_ids"],
        if_not_exists=True,
    )
    op.create_index(
        "ix_movies_original_language_release_date",
        "movies",
        ["original_language", "release_date", "id"],
        postgresql_include=["popularity", "vote_average", "genre_ids"],
        if_not_exists=True,
    )
    # Of a hundred titles, which is what it looks at else, the planner does not learn that one in a hundred has a word.
    op.execute("ALTER TABLE movies ALTER COLUMN title_key SET STATISTICS 1000")
    # On servers that have trigrams, as in 0002. The index of 0003, which looks for each name by itself, is what servers
    # of the version before use.
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_opclass WHERE opcname = 'gin_trgm_ops' AND pg_opclass_is_visible(oid)) THEN
                CREATE INDEX IF NOT EXISTS ix_users_names_trigrams
                    ON users USING gin ((username_key || ' ' || email_key) gin_trgm_ops);
            END IF;
        END $$
        """
    )


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP INDEX IF EXISTS ix_users_names_trigrams")
    op.execute("ALTER TABLE movies ALTER COLUMN title_key SET STATISTICS -1")
    op.drop_index("ix_movies_original_language_release_date")
    op.drop_index("ix_movies_popularity_id_covering")
