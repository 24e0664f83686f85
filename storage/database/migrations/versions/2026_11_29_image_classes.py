"""The classes of each image of a project, as its labels have them."""

from alembic import op

revision = "2026_11_29_image_classes"
down_revision = "2026_11_29_listing_plans"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE project_classes (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        project_id UUID NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (project_id, name),
        FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE image_classes (
        project_image_id UUID NOT NULL,
        class_id BIGINT NOT NULL,
        relative_path TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (project_image_id, class_id),
        FOREIGN KEY (project_image_id) REFERENCES project_images (id) ON DELETE CASCADE,
        FOREIGN KEY (class_id) REFERENCES project_classes (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_image_classes_class_id ON image_classes "
    "(class_id, relative_path, project_image_id)",
    # The next ingest reads the labels of projects that are here already.
    "UPDATE projects SET labels_fingerprint = NULL",
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
