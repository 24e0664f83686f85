"""Uploads that are staged, and images as pages list them: filtered, sorted, a page at a time."""

from alembic import op

revision = "2026_11_28_web"
down_revision = "2026_11_28_run_pages"
branch_labels = None
depends_on = None

# As storage/database/tables/quality.py and tasks/quality/issues.py have them.
_ISSUES = (
    *("blur", "low_brightness", "high_brightness", "low_contrast", "duplicate"),
    "low_information",
)
_OF_PIXELS = (
    *("focus", "brightness", "contrast", "red_avg", "green_avg", "blue_avg", "entropy"),
    *("clipped_black", "clipped_white"),
)
_OF_PROJECT = ("overall_quality", "uniqueness")
_MEASURES = ("sharpness", *_OF_PIXELS, *_OF_PROJECT)
_SORTED = ("relative_path", "file_size", *_MEASURES)

_TABLES = (
    f"""
    CREATE TABLE image_listing (
        project_image_id UUID NOT NULL,
        project_id UUID NOT NULL,
        flags INTEGER NOT NULL,
        relative_path TEXT COLLATE "C" NOT NULL,
        file_size BIGINT NOT NULL,
        duplicate_group INTEGER,
        hash BIGINT,
        {" ".join(f"{name} FLOAT(53)," for name in _MEASURES)}
        PRIMARY KEY (project_image_id),
        FOREIGN KEY (project_image_id) REFERENCES project_images (id) ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE uploads (
        id UUID NOT NULL,
        project_id UUID NOT NULL,
        options JSONB NOT NULL,
        is_committing BOOLEAN DEFAULT false NOT NULL,
        created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        updated_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE
    )
    """,
    "CREATE INDEX ix_uploads_project_id_created_at ON uploads (project_id, created_at, id)",
    """
    CREATE TABLE upload_files (
        id UUID NOT NULL,
        upload_id UUID NOT NULL,
        name TEXT NOT NULL,
        size BIGINT NOT NULL,
        kind TEXT,
        completed_at TIMESTAMPTZ,
        created_at TIMESTAMPTZ DEFAULT now() NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (upload_id, name),
        FOREIGN KEY (upload_id) REFERENCES uploads (id) ON DELETE CASCADE
    )
    """,
)

_STATE = """
CASE WHEN i.state = 'missing' THEN 3 WHEN m.status = 'completed' THEN 0
     WHEN m.status = 'failed' THEN 2 ELSE 1 END
"""
_FLAGS = f"""
({_STATE}) | (i.is_labeled::int << 2)
| (CASE i.split WHEN 'train' THEN 8 WHEN 'val' THEN 16 WHEN 'test' THEN 24 ELSE 0 END)
""" + "".join(
    f"| CASE WHEN ({_STATE}) = 0 AND '{issue}' = ANY(q.issues) THEN {32 << place} ELSE 0 END\n"
    for place, issue in enumerate(_ISSUES)
)
# What is not measured as it is now has no measures, though a comparison of before may be there.
_COMPARED = f"({_STATE}) = 0"


def _values() -> dict[str, str]:
    return {
        "project_image_id": "i.id",
        "project_id": "i.project_id",
        "flags": _FLAGS,
        "relative_path": "i.relative_path",
        "file_size": "i.file_size",
        "duplicate_group": f"CASE WHEN {_COMPARED} THEN q.duplicate_group END",
        "hash": "CASE WHEN m.status = 'completed' AND NOT m.low_information "
        "AND m.perceptual_hash ~ '^[0-9a-f]{16}$' "
        "THEN ('x' || m.perceptual_hash)::bit(64)::bigint END",
        "sharpness": "CASE WHEN m.sharpness_variance IS NOT NULL "
        "THEN LEAST(m.sharpness_variance / COALESCE(q.sharpness_reference, 500), 1.0) END",
        **{name: f"m.{name}" for name in _OF_PIXELS},
        **{name: f"CASE WHEN {_COMPARED} THEN q.{name} END" for name in _OF_PROJECT},
    }


def fill_listing(changed: str) -> str:
    """SQL that brings the rows of some images up to date; `changed` selects their ids."""
    values = _values()
    names = ", ".join(values)
    new = ", ".join(f"excluded.{name}" for name in values)
    # In one order, so that two writers that share contents do not wait crosswise.
    return f"""
    INSERT INTO image_listing AS known ({names})
    SELECT {", ".join(values.values())}
    FROM ({changed}) c JOIN project_images i ON i.id = c.id
    LEFT JOIN image_quality_metrics m ON m.shared_image_id = i.shared_image_id
    LEFT JOIN project_image_quality q ON q.project_image_id = i.id
    ORDER BY i.id
    ON CONFLICT (project_image_id) DO UPDATE SET ({names}) = ({new})
    WHERE known.* IS DISTINCT FROM excluded.*
    """


_CHANGED = {
    "project_images": "SELECT id FROM changed",
    "image_quality_metrics": "SELECT p.id FROM changed r "
    "JOIN project_images p ON p.shared_image_id = r.shared_image_id",
    "project_image_quality": "SELECT project_image_id AS id FROM changed",
}
_EVENTS = {
    "project_images": ("INSERT", "UPDATE"),
    "image_quality_metrics": ("INSERT", "UPDATE"),
    "project_image_quality": ("INSERT", "UPDATE", "DELETE"),
}


def upgrade() -> None:
    for statement in _TABLES:
        op.execute(statement)
    op.execute(fill_listing("SELECT id FROM project_images").replace(":", r"\:"))
    for name in _SORTED:
        op.execute(
            f"CREATE INDEX ix_image_listing_{name} ON image_listing "
            f"(project_id, flags, {name}, project_image_id)"
        )
    op.execute(
        "CREATE INDEX ix_image_listing_duplicate_group ON image_listing "
        "(project_id, duplicate_group) WHERE duplicate_group IS NOT NULL"
    )
    # How many images a filter leaves is estimated from both together.
    op.execute(
        "CREATE STATISTICS image_listing_flags (mcv) ON project_id, flags FROM image_listing"
    )
    for table, events in _EVENTS.items():
        function = f"list_changed_{table}"
        op.execute(
            f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"{fill_listing(_CHANGED[table])}; RETURN NULL; END $$".replace(":", r"\:")
        )
        for event in events:
            changed = "OLD" if event == "DELETE" else "NEW"
            op.execute(
                f"CREATE TRIGGER {function}_{event.lower()} AFTER {event} ON {table} "
                f"REFERENCING {changed} TABLE AS changed "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )
