"""Planning what an ingest has to stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from storage.database.connection import Database, open_database
from storage.errors import InvalidInputError
from storage.files import remove_tree, require_room
from storage.jobs.chunks import list_open_chunks
from storage.jobs.counted import JobCount
from storage.jobs.locks import JobReference
from storage.projects.generated_files import has_edited_label
from storage.projects.images import known_files, known_labels_fingerprint, known_sizes
from storage.projects.ingests import (
    PlannedFile,
    StagedFileRecord,
    begin_ingest,
    list_fruitless_generations,
    list_generated_images,
    list_own_images,
    list_staged_files,
    plan_staged_files,
)
from storage.projects.projects import find_project
from storage.settings import get_settings
from tasks.images.folder_scan import FolderScan, FoundFile, scan_image_folder
from tasks.labels.dataset.plan import plan_dataset
from tasks.labels.formats.class_files import is_class_list
from tasks.labels.geometry import image_size_of
from tasks.labels.limit_steps import dataset_limits, dataset_limits_of_memory
from tasks.labels.limits import FileTooLargeError
from tasks.projects.generated.generation import labels_of, wanted_keys
from tasks.projects.generated.images import KnownGeneration
from tasks.projects.generated.merged_dataset import MergedDataset, read_merged_dataset
from tasks.projects.ingest.kept_files import (
    without_edited_images,
    without_labels_changed_since,
)
from tasks.projects.ingest.target_steps import IngestTarget, project_folders
from tasks.projects.registration_steps import labels_fingerprint, no_image_error
from tasks.projects.sources.opening import open_source
from tasks.projects.sources.source import FileSource, SourceListing
from tasks.running.chunks import plan_chunks
from tasks.running.decorators import task

_NAMING_SUFFIXES = (".yaml", ".yml", ".names", ".labels")
# For cutting chunks only.
_SECONDS_PER_IMAGE = 0.003
_SECONDS_PER_LABEL_FILE = 0.0005
_BYTES_PER_SECOND = 20e6


@dataclass(frozen=True)
class IngestPlan:
    """What an ingest has to stage.

    Attributes:
        files: new and changed files, and known images from which something is generated.
        unchanged: images of the source that the project has as they are.
        problems: a sentence for everything that was left out.
        found: images in the folder of the project that the database does not know as they are.
        gone: images that the database knows and that are not there any more.
        reads_labels_again: whether images or label files of the folder are others than at the last
            look, so that all labels are read.
    """

    files: list[PlannedFile]
    kept: list[UUID]
    unchanged: int
    problems: list[str]
    found: int = 0
    gone: int = 0
    reads_labels_again: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to stage or to commit."""
        return not self.files and not self.kept


def make_plan(
    database: Database, target: IngestTarget, staged: Iterable[StagedFileRecord] = ()
) -> IngestPlan:
    """Find out what is new or changed, from sizes and times alone; nothing is written.

    Raises:
        InvalidInputError: the source cannot be used or has no image, or nothing can be generated
            because the project does not keep its own files.
    """
    folder = _Folder(database, target)
    if target.generate.wanted_keys() and not project_folders().holds(target.path):
        raise InvalidInputError(
            f"The images of project {target.name!r} lie in {target.path}, which visionflows does "
            "not write to. Ingest them with --mode copy to generate others from them."
        )
    if target.source is None:
        plan = replace(
            _plan_files(folder, SourceListing(), None),
            unchanged=len(folder.scan.files) - folder.found(),
            found=folder.found(),
            gone=folder.gone(),
            reads_labels_again=labels_fingerprint(folder.scan)
            != known_labels_fingerprint(database, target.project_id),
        )
        return _with_staged(folder, plan, staged)
    with closing(open_source(target.source, dataset_limits())) as source:
        listing = source.list_files()
        if not listing.images:
            raise no_image_error(target.source, listing.problems)
        listing = _with_readable_labels(folder, listing)
        if not target.is_new:
            listing = _with_classes_of_project(folder, database, listing, source)
            listing = without_labels_changed_since(listing, source, target.path, folder.there)
            if not target.overwrite:
                listing = without_edited_images(
                    listing, source, target.path, folder.there, folder.is_own
                )
        return _with_staged(folder, _plan_files(folder, listing, source), staged)


def _with_readable_labels(folder: _Folder, listing: SourceListing) -> SourceListing:
    """Leave out label files that nobody would read.

    Raises:
        InvalidInputError: those of the project and the source are too large together.
    """
    limits = dataset_limits_of_memory()
    sizes = {file.relative_path: file.size for file in folder.scan.label_files}
    sizes |= {file.relative_path: file.size for file in listing.label_files}
    limits.check_held(folder.target.source, sizes.values())
    reason = FileTooLargeError(limits.file_bytes, "VISIONFLOWS_MAX_LABEL_FILE_BYTES")
    too_large = {one.relative_path for one in listing.label_files if one.size > limits.file_bytes}
    return SourceListing(
        listing.images,
        [file for file in listing.label_files if file.relative_path not in too_large],
        [*listing.problems, *(f"{path}: {reason}" for path in sorted(too_large))],
    )


def _with_classes_of_project(
    folder: _Folder, database: Database, listing: SourceListing, source: FileSource
) -> SourceListing:
    """Leave out what would take class names from a project, and refuse what would change them.

    Raises:
        InvalidInputError: a class of the project has another name in the source.
    """
    target = folder.target
    known = {
        class_id: name
        for class_id, name in find_project(database, str(target.project_id)).class_names.items()
        if name != class_id  # nobody has named it yet
    }
    naming = [file for file in listing.label_files if _may_name_classes(file.relative_path)]
    if all(folder.has(file) for file in naming):
        return listing

    limits = dataset_limits()

    def read(path: str) -> bytes:
        with source.open(path) as stream:
            return limits.read(stream)

    paths = [file.relative_path for file in (*listing.images, *naming)]
    names = plan_dataset(paths, read, limits).class_names
    for class_id, name in names.items():
        if known.get(str(class_id), name) != name:
            raise InvalidInputError(
                f"Class {class_id} is {known[str(class_id)]!r} in project {target.name!r} and "
                f"{name!r} in {target.source}. Ingest it into another project; a training set "
                "of both merges classes by their names."
            )
    if known.keys() <= {str(class_id) for class_id in names}:
        return listing
    kept_back = {
        file.relative_path
        for file in naming
        if file.relative_path in folder.there and not folder.has(file)
    }
    return SourceListing(
        listing.images,
        [file for file in listing.label_files if file.relative_path not in kept_back],
        [
            *listing.problems,
            *(f"{path}: names fewer classes than the project's own" for path in sorted(kept_back)),
        ],
    )


def _may_name_classes(path: str) -> bool:
    file = Path(path)
    return file.suffix.lower() in _NAMING_SUFFIXES or is_class_list(file.name)


class _Folder:
    """The folder of a project as it is, with what the database knows of it."""

    def __init__(self, database: Database, target: IngestTarget) -> None:
        self.target = target
        self.scan = scan_image_folder(target.path) if target.path.is_dir() else FolderScan()
        self.known = known_files(database, target.project_id)
        self.sizes = known_sizes(database, target.project_id)
        self._own = list_own_images(database, target.project_id)
        is_generating = bool(target.generate.wanted_keys())
        self.generations = self._read_generations(database) if is_generating else []
        self.nothing = (
            list_fruitless_generations(database, target.project_id) if is_generating else {}
        )
        self.there = {
            file.relative_path: file for file in (*self.scan.files, *self.scan.label_files)
        }

    def _read_generations(self, database: Database) -> list[KnownGeneration]:
        return [
            KnownGeneration(
                one.relative_path,
                one.source,
                one.generation,
                one.is_missing,
                has_edited_label(self.target.path, one.generation),
            )
            for one in list_generated_images(database, self.target.project_id)
        ]

    def has(self, file: FoundFile) -> bool:
        """Whether a file of the source is there unchanged, by its size and its time of change."""
        there = self.there.get(file.relative_path)
        return there is not None and (there.size, there.modified_at_ns) == (
            file.size,
            file.modified_at_ns,
        )

    def is_own(self, file: FoundFile) -> bool:
        """Whether an image of the folder is not what an ingest has put there, nor generated."""
        known = self.known.get(file.relative_path)
        if known is None or known.is_missing:
            return False
        return file.relative_path in self._own or self.current_hash(file) is None

    def found(self) -> int:
        """How many images of the folder are new or changed."""
        return sum(self.current_hash(file) is None for file in self.scan.files)

    def gone(self) -> int:
        """How many known images are not there."""
        return sum(
            not (file.is_missing or path in self.there or self.scan.could_not_look_at(path))
            for path, file in self.known.items()
        )

    def current_hash(self, file: FoundFile) -> str | None:
        """The known sha256 of a file of the folder; None if it has changed since."""
        known = self.known.get(file.relative_path)
        if known is None or known.is_missing:
            return None
        is_same = (known.size, known.modified_at_ns) == (file.size, file.modified_at_ns)
        return known.sha256 if is_same else None


def _plan_files(folder: _Folder, listing: SourceListing, source: FileSource | None) -> IngestPlan:
    """Compare the source with the folder, and find what is to be generated."""
    target = folder.target
    images = [file for file in listing.images if not folder.has(file)]
    labels = [file for file in listing.label_files if not folder.has(file)]
    wanted: dict[str, tuple[str, ...]] = {}
    known: list[FoundFile] = []
    if target.generate.wanted_keys():
        new = {file.relative_path for file in (*images, *labels)}
        dataset = _merged(folder.scan, target, source, frozenset(new), folder.sizes)
        new_images = {file.relative_path for file in images}
        # A picture of the source in the place of a generated one is no generated one any more.
        generated = {one.path for one in folder.generations} - new_images
        by_source: dict[str, list[KnownGeneration]] = defaultdict(list)
        for one in folder.generations:
            if one.path in generated:
                by_source[one.source].append(one)
        for file in (*images, *folder.scan.files):
            path = file.relative_path
            if path in wanted or path in generated:
                continue
            is_new = path in new_images
            keys = wanted_keys(
                path,
                None if is_new else folder.current_hash(file),
                (None, None) if is_new else folder.sizes.get(path, (None, None)),
                target.generate,
                by_source[path],
                folder.nothing.get(path, {}),
                labels_of(dataset, path),
            )
            wanted[path] = keys
            if keys and not is_new:
                known.append(file)
    files = [
        *(_planned(file, True, False, wanted.get(file.relative_path, ())) for file in images),
        *(_planned(file, False, False) for file in labels),
        *(_planned(file, True, True, wanted[file.relative_path]) for file in known),
    ]
    return IngestPlan(files, [], len(listing.images) - len(images), listing.problems)


def _planned(
    file: FoundFile, is_image: bool, is_known: bool, wanted: tuple[str, ...] = ()
) -> PlannedFile:
    return PlannedFile(
        *(file.relative_path, is_image, is_known, file.relative_path),
        *(file.size, file.modified_at_ns, wanted),
    )


def _with_staged(
    folder: _Folder, plan: IngestPlan, staged: Iterable[StagedFileRecord]
) -> IngestPlan:
    """Leave out what was staged before from the same files and is still there."""
    root = project_folders().staging(folder.target.project_id)
    rows = list(staged)
    generated: dict[str, list[StagedFileRecord]] = defaultdict(list)
    for row in rows:
        if row.generated_from is not None:
            generated[row.generated_from].append(row)
    by_path = {row.relative_path: row for row in rows if row.generated_from is None}

    def is_there(row: StagedFileRecord) -> bool:
        path = root / row.relative_path
        return row.is_known or (path.is_file() and path.stat().st_size == row.file_size)

    def holds(file: PlannedFile) -> bool:
        row = by_path.get(file.relative_path)
        return (
            row is not None
            and row.sha256 is not None
            and (row.is_known, row.source_size, row.source_modified_at_ns)
            == (file.is_known, file.size, file.modified_at_ns)
            and tuple((row.generation or {}).get("wanted", ())) == file.wanted
            and all(is_there(one) for one in (row, *generated[file.relative_path]))
        )

    held = {file.relative_path for file in plan.files if holds(file)}
    kept = [row.id for path in held for row in (by_path[path], *generated[path])]
    files = [file for file in plan.files if file.relative_path not in held]
    return replace(plan, files=files, kept=kept)


def _merged(
    scan: FolderScan,
    target: IngestTarget,
    source: FileSource | None,
    source_paths: frozenset[str],
    sizes: Mapping[str, tuple[int | None, int | None]],
) -> MergedDataset:
    known = {path: image_size_of(*size) for path, size in sizes.items() if None not in size}
    return read_merged_dataset(
        target.path,
        frozenset(file.relative_path for file in (*scan.files, *scan.label_files)),
        source,
        source_paths,
        {path: size for path, size in known.items() if size is not None},
        dataset_limits(),
    )


@dataclass(frozen=True)
class PlannedIngest:
    """What was planned, and whether there will be anything to commit."""

    chunks: list[int]
    has_files: bool
    unchanged: int
    problems: list[str]


@task(run_name="plan")
def plan_ingest(job: JobReference, target: IngestTarget) -> PlannedIngest:
    """Fix what is to be staged and cut it into chunks.

    Raises:
        DiskFullError: there is no room for it; generated images come on top.
    """
    database = open_database()
    # An attempt whose answer was lost has planned everything already.
    if open_chunks := list_open_chunks(database, job):
        return PlannedIngest(open_chunks, True, 0, [])
    plan = make_plan(database, target, list_staged_files(database, target.project_id))
    if plan.is_empty:
        if not target.is_new:
            # Nothing is done, and that is counted; images of a new folder are when it is read.
            count = JobCount(database, job)
            count.begin(plan.unchanged)
            count.end()
        return PlannedIngest([], False, plan.unchanged, plan.problems)
    # Staged files are renamed into their project: on the same disk, and not written twice.
    largest = get_settings().max_image_bytes
    copied = (
        file.size
        for file in plan.files
        if not file.is_known and (file.size <= largest or not file.is_image)
    )
    require_room(project_folders().root, sum(copied))
    staged = {row.id for row in begin_ingest(database, target.as_ingest())}
    if not staged.issuperset(plan.kept):
        plan = make_plan(database, target)
    if not plan.kept:
        # Files of an ingest that was broken off before their rows were written.
        remove_tree(project_folders().staging(target.project_id))
    ids = plan_staged_files(database, target.project_id, plan.kept, plan.files)
    chunks = plan_chunks(job, ids, [_estimated_seconds(file) for file in plan.files])
    return PlannedIngest(chunks, True, plan.unchanged, plan.problems)


def _estimated_seconds(file: PlannedFile) -> float:
    if not file.is_image:
        return _SECONDS_PER_LABEL_FILE + file.size / _BYTES_PER_SECOND / 10
    return (_SECONDS_PER_IMAGE + file.size / _BYTES_PER_SECOND) * (1 + 2 * len(file.wanted))


class StagedDataset:
    """The dataset that a project will hold, and whose the generated images in it are."""

    def __init__(self, database: Database, target: IngestTarget) -> None:
        folder = _Folder(database, target)
        staged = frozenset(
            row.relative_path
            for row in list_staged_files(database, target.project_id)
            if row.generated_from is None and not row.is_known
        )
        if target.source is None:
            self.merged = _merged(folder.scan, target, None, frozenset(), folder.sizes)
        else:
            with closing(open_source(target.source, dataset_limits())) as source:
                source.list_files()
                self.merged = _merged(folder.scan, target, source, staged, folder.sizes)
        self._generated = {one.path: one for one in folder.generations if one.path not in staged}

    def generated_at(self, path: str) -> KnownGeneration | None:
        """The generated image that is there, and will be there after the ingest."""
        return self._generated.get(path)
