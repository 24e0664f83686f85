"""What people have changed in a project is not written over by a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tasks.images.folder_scan import FoundFile
from tasks.projects.sources.source import FileSource, SourceListing

_MOST_NAMED = 20


def without_edited_images(
    listing: SourceListing,
    source: FileSource,
    folder: Path,
    there: Mapping[str, FoundFile],
    is_own: Callable[[FoundFile], bool],
) -> SourceListing:
    """Leave out images in whose place somebody has put another picture since they were ingested.

    `is_own` tells of a file of the folder whether it is what somebody has put there. The source is
    opened where sizes do not tell.
    """

    def stays(file: FoundFile) -> bool:
        found = there.get(file.relative_path)
        return (
            found is not None
            and found != file
            and is_own(found)
            and _has_other_content(found, file, source, folder)
        )

    kept = sorted(file.relative_path for file in listing.images if stays(file))
    if not kept:
        return listing
    more = len(kept) - _MOST_NAMED
    names = ", ".join(kept[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    count = "1 image was" if len(kept) == 1 else f"{len(kept)} images were"
    return SourceListing(
        [file for file in listing.images if file.relative_path not in set(kept)],
        listing.label_files,
        [
            *listing.problems,
            f"{count} changed in the project since the last ingest, and not written over; "
            f"--overwrite takes what the source has: {names}",
        ],
    )


def without_labels_changed_since(
    listing: SourceListing, source: FileSource, folder: Path, there: Mapping[str, FoundFile]
) -> SourceListing:
    """Leave out label files that were changed in the project after those of the source.

    Labels of another picture than the project has are taken, however old they are. The source is
    opened where sizes do not tell.
    """

    def is_there(file: FoundFile) -> bool:
        return there.get(file.relative_path) == file

    arriving = [file for file in listing.images if not is_there(file)]
    of_arriving = _label_stems(arriving)
    of_known = _label_stems(file for file in listing.images if is_there(file)) - of_arriving

    def stays(file: FoundFile) -> bool:
        # Files for many images, such as COCO and lists of splits, must know the arriving ones.
        is_for_known = not arriving or Path(file.relative_path).stem in of_known
        found = there.get(file.relative_path)
        return is_for_known and found is not None and _is_newer(found, file, source, folder)

    kept = {file.relative_path for file in listing.label_files if stays(file)}
    if not kept:
        return listing
    return SourceListing(
        listing.images,
        [file for file in listing.label_files if file.relative_path not in kept],
        [
            *listing.problems,
            *(
                f"{path}: was changed in the project since, and stays; remove it there to take "
                "that of the source"
                for path in sorted(kept)
            ),
        ],
    )


def _label_stems(images: Iterable[FoundFile]) -> set[str]:
    """What the label files of images may be called: `a.txt` or `a.jpg.txt`."""
    paths = [Path(file.relative_path) for file in images]
    return {path.stem for path in paths} | {path.name for path in paths}


def _is_newer(found: FoundFile, file: FoundFile, source: FileSource, folder: Path) -> bool:
    """Whether a file of the project has another content than that of the source, and is newer."""
    return found.modified_at_ns > file.modified_at_ns and _has_other_content(
        found, file, source, folder
    )


def _has_other_content(found: FoundFile, file: FoundFile, source: FileSource, folder: Path) -> bool:
    if found.size != file.size:
        return True
    try:
        with source.open(file.relative_path) as stream:
            return stream.read() != (folder / file.relative_path).read_bytes()
    except OSError:
        return False  # staging says why it cannot be read
