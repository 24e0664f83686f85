"""The tables of the first release, as the SQL file beside this one has them."""

from pathlib import Path

from alembic import op

revision = "2026_11_28"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The driver itself takes several statements at once, and no `%` for a parameter.
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
