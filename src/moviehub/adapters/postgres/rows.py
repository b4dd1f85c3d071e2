"""How a row of `labelled` columns reads as an entity: one function a table."""

from moviehub.adapters.postgres.statements import Row
from moviehub.adapters.postgres.tables import labelled, movies
from moviehub.domain.audit import Entry, Event, Recorded
from moviehub.domain.favorites import Favorite
from moviehub.domain.movies import Mark, Movie, MovieFacts
from moviehub.domain.ratings import Opinion, Rating
from moviehub.domain.sessions import Session
from moviehub.domain.users import User

MOVIE = [column for column in labelled(movies) if column.name != "movies_title_key"]
"""What a film is read from: the folded title is for orders and searches alone."""


def user_of(row: Row) -> User:
    """The account."""
    return User(
        id=row["users_id"],
        username=row["users_username"],
        email=row["users_email"],
        password_hash=row["users_password"],
        first_name=row["users_first_name"],
        last_name=row["users_last_name"],
        bio=row["users_bio"],
        profile_picture=row["users_profile_picture"],
        is_active=row["users_is_active"],
        is_staff=row["users_is_staff"],
        is_superuser=row["users_is_superuser"],
        created_at=row["users_created_at"],
        updated_at=row["users_updated_at"],
    )


def session_of(row: Row) -> Session:
    """The session."""
    return Session(
        id=row["sessions_id"],
        user_id=row["sessions_user_id"],
        counter=row["sessions_counter"],
        created_at=row["sessions_created_at"],
        last_used_at=row["sessions_last_used_at"],
        expires_at=row["sessions_expires_at"],
        ended_at=row["sessions_ended_at"],
        client=row["sessions_client"],
        address=row["sessions_address"],
    )


def movie_of(row: Row) -> Movie:
    """The film."""
    return Movie(
        id=row["movies_id"],
        facts=MovieFacts(
            tmdb_id=row["movies_tmdb_id"],
            title=row["movies_title"],
            overview=row["movies_overview"],
            release_date=row["movies_release_date"],
            poster_path=row["movies_poster_path"],
            backdrop_path=row["movies_backdrop_path"],
            popularity=row["movies_popularity"],
            vote_average=row["movies_vote_average"],
            vote_count=row["movies_vote_count"],
            original_language=row["movies_original_language"],
            genre_ids=tuple(row["movies_genre_ids"]),
        ),
        created_at=row["movies_created_at"],
        updated_at=row["movies_updated_at"],
        fetched_at=row["movies_fetched_at"],
        dropped_at=row["movies_dropped_at"],
    )


def favorite_of(row: Row) -> Favorite | None:
    """The favourite, if the row has one."""
    if row["favorites_id"] is None:
        return None
    return Favorite(
        id=row["favorites_id"],
        user_id=row["favorites_user_id"],
        movie_id=row["favorites_movie_id"],
        created_at=row["favorites_created_at"],
    )


def rating_of(row: Row) -> Rating | None:
    """The rating, if the row has one."""
    if row["ratings_id"] is None:
        return None
    return Rating(
        id=row["ratings_id"],
        user_id=row["ratings_user_id"],
        movie_id=row["ratings_movie_id"],
        opinion=Opinion(score=row["ratings_rating"], review=row["ratings_review"]),
        created_at=row["ratings_created_at"],
        updated_at=row["ratings_updated_at"],
    )


def mark_of(row: Row) -> Mark:
    """What one person has said of one film."""
    return Mark(favorite_of(row), rating_of(row))


def recorded_of(row: Row) -> Recorded:
    """The entry of the audit trail."""
    return Recorded(
        row["audit_id"],
        Entry(
            at=row["audit_at"],
            event=Event(row["audit_event"]),
            user_id=row["audit_user_id"],
            actor_id=row["audit_actor_id"],
            address=row["audit_address"],
            detail=row["audit_detail"],
        ),
    )
