"""Each film's score, kept by what writes ratings: to count them anew takes the longer the more a film has."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Were a film's score one row, people who rate it at once would wait for each other's commits: it is the sum of eight.
KEPT = """
    ON CONFLICT (movie_id, slot) DO UPDATE SET
        ratings_count = scores.ratings_count + excluded.ratings_count,
        ratings_sum = scores.ratings_sum + excluded.ratings_sum,
        reviews_count = scores.reviews_count + excluded.reviews_count
"""


def upgrade() -> None:
    """Make the table and what keeps it, and count what is there. Until that is done nobody else writes ratings."""
    op.create_table(
        "scores",
        sa.Column("movie_id", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.SmallInteger, nullable=False),
        sa.Column("ratings_count", sa.Integer, nullable=False),
        sa.Column("ratings_sum", sa.Integer, nullable=False),
        sa.Column("reviews_count", sa.Integer, nullable=False),
        postgresql_with={"fillfactor": 50},  # an update stays on its page, and touches no index
    )
    # By triggers, since accounts take their ratings with them and servers of the version before write them too.
    op.execute(
        f"""
        CREATE FUNCTION count_rating() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            came int := (NEW.review IS NOT NULL)::int;
            went int;
        BEGIN
            IF TG_OP = 'UPDATE' THEN
                went := (OLD.review IS NOT NULL)::int;
                IF (OLD.movie_id, OLD.user_id) = (NEW.movie_id, NEW.user_id) THEN
                    UPDATE scores
                    SET ratings_sum = ratings_sum + NEW.rating - OLD.rating, reviews_count = reviews_count + came - went
                    WHERE movie_id = NEW.movie_id AND slot = NEW.user_id % 8;
                    RETURN NULL;
                END IF;
                INSERT INTO scores VALUES (OLD.movie_id, OLD.user_id % 8, -1, -OLD.rating, -went) {KEPT};
            END IF;
            INSERT INTO scores VALUES (NEW.movie_id, NEW.user_id % 8, 1, NEW.rating, came) {KEPT};
            RETURN NULL;
        END $$
        """  # noqa: S608 # nosec B608 # only the text above is put in
    )
    op.execute("CREATE TRIGGER count_new AFTER INSERT ON ratings FOR EACH ROW EXECUTE FUNCTION count_rating()")
    op.execute(
        """
        CREATE TRIGGER count_changed AFTER UPDATE ON ratings FOR EACH ROW
        WHEN (
            (OLD.movie_id, OLD.user_id, OLD.rating, OLD.review IS NULL)
            IS DISTINCT FROM (NEW.movie_id, NEW.user_id, NEW.rating, NEW.review IS NULL)
        )
        EXECUTE FUNCTION count_rating()
        """
    )
    # An account takes many with it: once for all of them, and in one order, so that two accounts cannot deadlock.
    op.execute(
        f"""
        CREATE FUNCTION uncount_ratings() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO scores
            SELECT movie_id, user_id % 8, -count(*), -sum(rating), -count(review) FROM gone
            GROUP BY 1, 2 ORDER BY 1, 2
            {KEPT};
            RETURN NULL;
        END $$
        """  # noqa: S608 # nosec B608 # only the text above is put in
    )
    op.execute(
        """
        CREATE TRIGGER count_gone AFTER DELETE ON ratings REFERENCING OLD TABLE AS gone
        FOR EACH STATEMENT EXECUTE FUNCTION uncount_ratings()
        """
    )
    # TRUNCATE would need a trigger of its own; it takes all, so it is not refused but followed.
    op.execute(
        """
        CREATE FUNCTION forget_scores() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            DELETE FROM scores;
            RETURN NULL;
        END $$
        """
    )
    op.execute("CREATE TRIGGER count_none AFTER TRUNCATE ON ratings EXECUTE FUNCTION forget_scores()")
    # The triggers have taken the lock that keeps writers out, and this statement sees all that they had committed. It
    # has the memory to count millions of groups without the disk.
    op.execute("SET LOCAL work_mem = '256MB'")
    op.execute(
        """
        INSERT INTO scores
        SELECT movie_id, user_id % 8, count(*), sum(rating), count(review) FROM ratings GROUP BY 1, 2
        """
    )
    op.create_primary_key("pk_scores", "scores", ["movie_id", "slot"])
    op.create_foreign_key("fk_scores_movie_id", "scores", "movies", ["movie_id"], ["id"], ondelete="CASCADE")


def downgrade() -> None:
    """Drop the scores and what keeps them: they can be counted anew."""
    for name in ("count_new", "count_changed", "count_gone", "count_none"):
        op.execute(f"DROP TRIGGER {name} ON ratings")
    for name in ("count_rating", "uncount_ratings", "forget_scores"):
        op.execute(f"DROP FUNCTION {name}()")
    op.drop_table("scores")
