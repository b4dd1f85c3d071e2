"""The tables, their constraints by name, and an index for every order and search that the repositories ask for."""

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    FromClause,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    bindparam,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import Label

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _instant(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _user_id() -> Column[int]:
    return Column("user_id", BigInteger, ForeignKey("users.id", ondelete="CASCADE"), nullable=False)


def _movie_id() -> Column[int]:
    return Column("movie_id", BigInteger, ForeignKey("movies.id"), nullable=False)


users = Table(
    "users",
    metadata,
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
    Column("is_active", Boolean, nullable=False),
    Column("is_staff", Boolean, nullable=False),
    Column("is_superuser", Boolean, nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    UniqueConstraint("username_key"),
    UniqueConstraint("email_key"),
)

sessions = Table(
    "sessions",
    metadata,
    _id(),
    _user_id(),
    Column("counter", Integer, nullable=False),
    _instant("created_at"),
    _instant("last_used_at"),
    _instant("expires_at"),
    _instant("ended_at", nullable=True),
    _text("client"),
    _text("address"),
)
Index(None, sessions.c.user_id)
Index(None, sessions.c.expires_at, postgresql_where=sessions.c.ended_at.is_(None))

movies = Table(
    "movies",
    metadata,
    _id(),
    Column("tmdb_id", BigInteger, nullable=False),
    _text("title"),
    Column("title_key", Text(collation="C"), nullable=False),
    _text("overview"),
    Column("release_date", Date),
    _text("poster_path", nullable=True),
    _text("backdrop_path", nullable=True),
    Column("popularity", Double, nullable=False),
    Column("vote_average", Double, nullable=False),
    Column("vote_count", BigInteger, nullable=False),
    _text("original_language"),
    Column("genre_ids", ARRAY(Integer), nullable=False),
    _instant("created_at"),
    _instant("updated_at"),
    _instant("fetched_at"),
    _instant("dropped_at", nullable=True),
    UniqueConstraint("tmdb_id"),
)
# One index serves an order and its reverse, ids included. Dates need two: films without one come last either way.
# Titles also have a trigram index on servers that offer it, as have the names and addresses of users; since not all do,
# those stand in migrations alone.
for _column in ("popularity", "vote_average", "created_at", "fetched_at", "title_key", "release_date"):
    Index(None, movies.c[_column], movies.c.id)
Index("ix_movies_release_date_id_desc", movies.c.release_date.desc().nulls_last(), movies.c.id.desc())
Index(None, movies.c.original_language)
# What narrows a list beside its order, so that the index alone tells which films are on a page.
Index(
    "ix_movies_popularity_id_covering",
    movies.c.popularity,
    movies.c.id,
    postgresql_include=["title_key", "vote_average", "release_date", "original_language", "genre_ids"],
)
Index(
    "ix_movies_original_language_release_date",
    movies.c.original_language,
    movies.c.release_date,
    movies.c.id,
    postgresql_include=["popularity", "vote_average", "genre_ids"],
)
Index(None, movies.c.genre_ids, postgresql_using="gin")

favorites = Table(
    "favorites",
    metadata,
    _id(),
    _user_id(),
    _movie_id(),
    _instant("created_at"),
    UniqueConstraint("user_id", "movie_id"),
)
Index(None, favorites.c.user_id, favorites.c.created_at, favorites.c.id)
Index(None, favorites.c.movie_id)

ratings = Table(
    "ratings",
    metadata,
    _id(),
    _user_id(),
    _movie_id(),
    Column("rating", SmallInteger, nullable=False),
    _text("review", nullable=True),
    _instant("created_at"),
    _instant("updated_at"),
    UniqueConstraint("user_id", "movie_id"),
    CheckConstraint("rating BETWEEN 1 AND 10", name="rating"),
)
Index(None, ratings.c.user_id, ratings.c.updated_at, ratings.c.id)
Index(None, ratings.c.movie_id, postgresql_include=["rating"])
Index(
    "ix_ratings_reviews",
    ratings.c.movie_id,
    ratings.c.updated_at,
    ratings.c.id,
    postgresql_where=ratings.c.review.is_not(None),
)

# What `ratings` comes to: a row for each film and eighth of the people. Triggers, which stand in a migration alone,
# keep it in the very transaction that writes a rating.
scores = Table(
    "scores",
    metadata,
    Column("movie_id", BigInteger, ForeignKey("movies.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("ratings_count", Integer, nullable=False),
    Column("ratings_sum", Integer, nullable=False),
    Column("reviews_count", Integer, nullable=False),
    postgresql_with={"fillfactor": 50},
)

# Without foreign keys, since an entry outlives the account that it is about. A trigger, which stands in a migration
# alone, refuses whatever would not add.
audit = Table(
    "audit",
    metadata,
    _id(),
    _instant("at"),
    _text("event"),
    Column("user_id", BigInteger),
    Column("actor_id", BigInteger),
    _text("address"),
    _text("detail"),
)
Index(None, audit.c.user_id, audit.c.id)
Index(None, audit.c.event, audit.c.id)


def labelled(source: FromClause, table: Table | None = None) -> list[Label[object]]:
    """Every column of `source` under `table_column`, so that rows of joined tables can be told apart."""
    named = source if table is None else table
    return [column.label(f"{named.description}_{column.name}") for column in source.columns]


def parameters(table: Table, *names: str) -> dict[str, BindParameter[object]]:
    """What an INSERT or UPDATE sets: these columns, each to the parameter of its name; every one but the id if none."""
    return {
        column.name: bindparam(column.name, type_=column.type)
        for column in table.columns
        if (column.name in names if names else column.name != "id")
    }
