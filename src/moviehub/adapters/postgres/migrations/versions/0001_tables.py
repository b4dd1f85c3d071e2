"""Accounts, sessions, films, favourites and ratings."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False)


def _instant(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "users",
        _id(),
        _text("username"),
        _text("username_key"),
        _text("email"),
        _text("email_key"),
        _text("password"),
        _text("first_name"),
        _text("last_name"),
        _text("bio", nullable=True),
        _text("profile_picture", nullable=True),
        sa.Column("is_active", sa.Boolean, nullable=False),
        sa.Column("is_staff", sa.Boolean, nullable=False),
        sa.Column("is_superuser", sa.Boolean, nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username_key", name="uq_users_username_key"),
        sa.UniqueConstraint("email_key", name="uq_users_email_key"),
    )
    op.create_table(
        "sessions",
        _id(),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("counter", sa.Integer, nullable=False),
        _instant("created_at"),
        _instant("last_used_at"),
        _instant("expires_at"),
        _instant("ended_at", nullable=True),
        _text("client"),
        _text("address"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id", ondelete="CASCADE"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])
    op.create_table(
        "movies",
        _id(),
        sa.Column("tmdb_id", sa.BigInteger, nullable=False),
        _text("title"),
        sa.Column("title_key", sa.Text(collation="C"), nullable=False),
        _text("overview"),
        sa.Column("release_date", sa.Date),
        _text("poster_path", nullable=True),
        _text("backdrop_path", nullable=True),
        sa.Column("popularity", sa.Double, nullable=False),
        sa.Column("vote_average", sa.Double, nullable=False),
        sa.Column("vote_count", sa.BigInteger, nullable=False),
        _text("original_language"),
        sa.Column("genre_ids", postgresql.ARRAY(sa.Integer), nullable=False),
        _instant("created_at"),
        _instant("updated_at"),
        _instant("fetched_at"),
        sa.PrimaryKeyConstraint("id", name="pk_movies"),
        sa.UniqueConstraint("tmdb_id", name="uq_movies_tmdb_id"),
    )
    for column in ("popularity", "vote_average", "created_at", "title_key", "release_date"):
        op.create_index(f"ix_movies_{column}_id", "movies", [column, "id"])
    op.create_index(
        "ix_movies_release_date_id_desc", "movies", [sa.text("release_date DESC NULLS LAST"), sa.text("id DESC")]
    )
    op.create_index("ix_movies_original_language", "movies", ["original_language"])
    op.create_index("ix_movies_genre_ids", "movies", ["genre_ids"], postgresql_using="gin")
    op.create_table(
        "favorites",
        _id(),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("movie_id", sa.BigInteger, nullable=False),
        _instant("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_favorites"),
        sa.UniqueConstraint("user_id", "movie_id", name="uq_favorites_user_id_movie_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_favorites_user_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["movie_id"], ["movies.id"], name="fk_favorites_movie_id"),
    )
    op.create_index("ix_favorites_user_id_created_at_id", "favorites", ["user_id", "created_at", "id"])
    op.create_index("ix_favorites_movie_id", "favorites", ["movie_id"])
    op.create_table(
        "ratings",
        _id(),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("movie_id", sa.BigInteger, nullable=False),
        sa.Column("rating", sa.SmallInteger, nullable=False),
        _text("review", nullable=True),
        _instant("created_at"),
        _instant("updated_at"),
        sa.PrimaryKeyConstraint("id", name="pk_ratings"),
        sa.UniqueConstraint("user_id", "movie_id", name="uq_ratings_user_id_movie_id"),
        sa.CheckConstraint("rating BETWEEN 1 AND 10", name=op.f("ck_ratings_rating")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_ratings_user_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["movie_id"], ["movies.id"], name="fk_ratings_movie_id"),
    )
    op.create_index("ix_ratings_user_id_updated_at_id", "ratings", ["user_id", "updated_at", "id"])
    op.create_index("ix_ratings_movie_id", "ratings", ["movie_id"], postgresql_include=["rating"])
    op.create_index(
        "ix_ratings_reviews",
        "ratings",
        ["movie_id", "updated_at", "id"],
        postgresql_where=sa.text("review IS NOT NULL"),
    )


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    for table in ("ratings", "favorites", "movies", "sessions", "users"):
        op.drop_table(table)
