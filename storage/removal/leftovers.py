"""What nobody holds any more: contents without an image, and what killed processes have left."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from storage.database.connection import Database, execute
from storage.files import remove_tree
from storage.files.places import ObjectPath, place_of
from storage.settings import get_settings

_IMAGES_TOGETHER = 1000
# Names that only `storage.files` gives: a person's own file would have to be called so.
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Of training sets: the folder that one is built in, and its plan until then.
_OF_SETS = re.compile(rf"\..*\.{_UUID}\.(building|tmp)", re.DOTALL)

_UNHELD = """
SELECT s.id FROM shared_images s
WHERE NOT EXISTS (SELECT 1 FROM project_images i WHERE i.shared_image_id = s.id)
  AND NOT EXISTS (SELECT 1 FROM collection_images c WHERE c.shared_image_id = s.id)
LIMIT :most
"""


def prune_unheld_images(database: Database) -> int:
    """Forget contents that no project and no collection holds any more; how many.

    Their measurements, detections and results go with them. The images themselves are not ours to
    remove; polygon files of these results are.
    """
    pruned = 0
    try:
        while count := _prune_some(database):
            pruned += count
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        # Somebody registers contents for long: the rest goes next time.
    return pruned


def _prune_some(database: Database) -> int:
    with database.transaction() as connection:
        # Whoever registers contents waits, or is waited for: none of these is held again meanwhile.
        execute(connection, "SET LOCAL lock_timeout = '5s'")
        execute(connection, "LOCK TABLE shared_images IN SHARE ROW EXCLUSIVE MODE")
        ids = list(execute(connection, _UNHELD, most=_IMAGES_TOGETHER).scalars())
        paths = execute(
            connection,
            "SELECT polygon_path FROM image_results WHERE image_id = ANY(:ids) "
            "AND polygon_path IS NOT NULL",
            ids=ids,
        ).scalars()
        # Files first: killed in between, the row still tells the next one that there was one.
        for path in paths:
            (get_settings().kept_folder / path).unlink(missing_ok=True)
        execute(connection, "DELETE FROM shared_images WHERE id = ANY(:ids)", ids=ids)
    return len(ids)


def sweep_leftovers(database: Database, *, older_than_seconds: float, now: float) -> int:
    """Remove what writers that were killed have left; how many files and folders.

    These are temporary files wherever we write, folders in which training sets were being built,
    staged files of no ingest, and
    files of no upload. Younger ones may belong to a writer at work; `now` is in seconds
    since the epoch.
    """

    def is_old(path: Path) -> bool:
        # A folder is as old as the newest thing right in it; of objects, as the newest below it.
        if isinstance(path, ObjectPath):
            ages = [facts.modified_at.timestamp() for _, facts in path.objects()]
            return bool(ages) and now - max(ages) > older_than_seconds
        try:
            times = [path.stat().st_mtime]
            times += [one.stat().st_mtime for one in path.iterdir()] if path.is_dir() else []
        except OSError:
            return False
        return now - max(times) > older_than_seconds

    removed = 0
    for path in dict.fromkeys((*_temporary_files(database), *_unowned_folders(database))):
        if is_old(path):
            if path.is_dir():
                remove_tree(path)
            else:
                with suppress(FileNotFoundError):
                    path.unlink()
            removed += 1
    return removed


def _temporary_files(database: Database) -> Iterator[Path]:
    settings = get_settings()
    for root in (
        settings.snapshots_folder,
        settings.runs_folder,
        settings.reports_folder,
        settings.exports_folder,
        settings.thumbnails_folder,
    ):
        for folder, _, names in os.walk(root):
            yield from (Path(folder) / name for name in names if _TEMPORARY.fullmatch(name))
    archives = database.rows("SELECT model_path FROM releases")
    places = [place_of(row[0]) for row in archives]
    folders = {place.parent for place in places if not isinstance(place, ObjectPath)} | {
        settings.home / "releases"
    }
    # Images and labels of a project are below these; what lies there is the person's own.
    if not isinstance(settings.projects_folder, ObjectPath):
        folders |= set(settings.projects_folder.glob("*/"))
    for one in sorted(folders):
        yield from (path for path in _list(one) if _TEMPORARY.fullmatch(path.name))


def _unowned_folders(database: Database) -> Iterator[Path]:
    settings = get_settings()
    sets = database.rows("SELECT DISTINCT subject FROM jobs WHERE kind = 'prepare-training-set'")
    for parent in sorted({Path(row[0]).parent for row in sets} | {settings.training_sets_folder}):
        outputs = {Path(row[0]).name for row in sets if Path(row[0]).parent == parent}
        for path in _list(parent):
            name = path.name[1:].rsplit(".", 2)[0]
            is_ours = parent == settings.training_sets_folder or name in outputs
            if is_ours and _OF_SETS.fullmatch(path.name):
                yield path
    ingests = {str(row[0]) for row in database.rows("SELECT project_id FROM project_ingests")}
    for path in _list(settings.projects_folder / ".staging"):
        if path.name not in ingests:
            yield path
    uploads = {str(row[0]) for row in database.rows("SELECT id FROM uploads")}
    yield from (path for path in _list(settings.uploads_folder) if path.name not in uploads)


def _list(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
