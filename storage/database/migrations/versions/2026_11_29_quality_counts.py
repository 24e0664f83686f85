"""The counts of a project's quality are kept until one of its images changes."""

from alembic import op

revision = "2026_11_29_quality_counts"
down_revision = "2026_11_28_run_images"
branch_labels = None
depends_on = None

_STATEMENTS = (
    "ALTER TABLE projects ADD COLUMN quality_counts JSONB",
    """
    CREATE TABLE image_listing_changes (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        project_id UUID NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_image_listing_changes_project_id ON image_listing_changes (project_id)",
    # Who adds a row here waits for nobody; a counter in the project's row would be waited for.
    """
    CREATE FUNCTION note_listing_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO image_listing_changes (project_id)
        SELECT DISTINCT c.project_id FROM changed c JOIN projects p ON p.id = c.project_id;
        RETURN NULL;
    END $$
    """,
    *(
        f"""
        CREATE TRIGGER note_listing_change_{event.lower()} AFTER {event} ON image_listing
        REFERENCING {"OLD" if event == "DELETE" else "NEW"} TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION note_listing_change()
        """
        for event in ("INSERT", "UPDATE", "DELETE")
    ),
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
