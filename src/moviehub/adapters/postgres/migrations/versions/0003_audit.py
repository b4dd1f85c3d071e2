"""The audit trail, which only grows, and an index for accounts that are sought by a part of their name or address."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and what keeps it append-only; the index if trigrams are there, as 0002 tried to have them."""
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("user_id", sa.BigInteger),
        sa.Column("actor_id", sa.BigInteger),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_user_id_id", "audit", ["user_id", "id"])
    op.create_index("ix_audit_event_id", "audit", ["event", "id"])
    op.execute(
        """
        CREATE FUNCTION refuse_to_change_audit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'the audit trail is append-only: % is refused', TG_OP
                USING ERRCODE = 'insufficient_privilege';
        END $$
        """
    )
    # For the statement, not for each row: what would change nothing is refused as well, and only so is TRUNCATE.
    op.execute(
        """
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_audit()
        """
    )
    op.execute(
        """
        DO $$
        BEGIN
            IF EXISTS (SELECT FROM pg_opclass WHERE opcname = 'gin_trgm_ops' AND pg_opclass_is_visible(oid)) THEN
                CREATE INDEX ix_users_trigrams ON users USING gin (username_key gin_trgm_ops, email_key gin_trgm_ops);
            END IF;
        END $$
        """
    )


def downgrade() -> None:
    """Drop the index, and the trail with all that is on it."""
    op.execute("DROP INDEX IF EXISTS ix_users_trigrams")
    op.drop_table("audit")
    op.execute("DROP FUNCTION refuse_to_change_audit()")
