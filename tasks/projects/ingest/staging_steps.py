"""Staging the files of an ingest chunk by chunk."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from storage.database.connection import open_database
from storage.errors import ImageError, InvalidInputError
from storage.jobs.locks import JobReference
from storage.projects.ingests import (
    GeneratedFile,
    StagedFileRecord,
    StagedResult,
    list_staged_files,
    load_staged_files,
    store_staged_files,
)
from storage.settings import get_settings
from tasks.images.decoding import DecodedImage, decode_image
from tasks.images.files import ImageLimits, read_image_file
from tasks.labels.limit_steps import dataset_limits
from tasks.projects.generated.generation import GeneratedContent, generate_contents
from tasks.projects.ingest.copying import (
    CopiedFile,
    UnreadableFileError,
    check_image,
    copy_file,
    read_content,
    write_content,
)
from tasks.projects.ingest.plan_steps import StagedDataset
from tasks.projects.ingest.target_steps import IngestTarget, project_folders
from tasks.projects.sources.opening import open_source
from tasks.projects.sources.source import FileSource
from tasks.running.chunk_loop import ChunkReport, ChunkWork, until, work_through
from tasks.running.decorators import task

_BATCH_SIZE = 50


@task(run_name="stage chunk {number}")
def stage_chunk(job: JobReference, number: int, target: IngestTarget) -> ChunkReport:
    """Copy the files of a chunk, read every image whole, and generate what is wanted of it.

    A file that cannot be used is failed with the reason, and the others are staged. An attempt goes
    on where the last one stopped, see `work_through`.
    """
    return work_through(
        job,
        number,
        lambda connection, items: _Staging(job, target, load_staged_files(connection, items)),
    )


def require_whole_upload(target: IngestTarget) -> None:
    """See that every file of an upload could be staged: all of it becomes part, or nothing does.

    Raises:
        InvalidInputError: some could not; the message names the first.
    """
    failed = [
        f"{row.relative_path} {row.error_message}"
        for row in list_staged_files(open_database(), target.project_id)
        if row.error_message is not None
    ]
    if failed:
        raise InvalidInputError(
            f"{len(failed)} of the uploaded files cannot be used, so nothing became part of the "
            f"project: {'; '.join(failed[:3])}. Remove them from the upload and commit it again."
        )


class _Staging(ChunkWork):
    """Copies files, reads images whole, and generates what is wanted of them."""

    def __init__(
        self, job: JobReference, target: IngestTarget, rows: Iterable[StagedFileRecord]
    ) -> None:
        super().__init__(_BATCH_SIZE)
        self._job = job
        self._rows = {row.id: row for row in rows}
        self._target = target
        self._staging = project_folders().staging(target.project_id)
        settings = get_settings()
        self._limits = ImageLimits(settings.max_image_pixels, settings.max_image_bytes)
        self._results: list[StagedResult] = []
        self._generated: list[GeneratedFile] = []

    def do(self, items: Sequence[UUID], should_stop: Callable[[], bool]) -> list[bool]:
        source = None
        if self._target.source is not None:
            with _opening:
                source = _source_of(self._job, self._target.source)
        self._results, self._generated = [], []
        for item in until(should_stop, items):
            row = self._rows[item]
            try:
                result, made = self._stage(row, source)
            except UnreadableFileError as error:
                result, made = StagedResult(row.id, error_message=str(error)), []
            self._results.append(result)
            self._generated += made
        return [result.error_message is None for result in self._results]

    def store(self, connection: Connection) -> None:
        store_staged_files(connection, self._target.project_id, self._results, self._generated)

    def _stage(
        self, row: StagedFileRecord, source: FileSource | None
    ) -> tuple[StagedResult, list[GeneratedFile]]:
        assert row.source_size is not None and row.source_modified_at_ns is not None
        size, modified_at_ns = row.source_size, row.source_modified_at_ns
        wanted = tuple((row.generation or {}).get("wanted", ()))
        target = self._staging / row.relative_path
        if row.is_known:
            content = self._read_known(row.relative_path, size, modified_at_ns)
            sha256 = hashlib.sha256(content).hexdigest()
            files, nothing = self._generate(row, sha256, self._decode(content), wanted)
            return StagedResult(row.id, sha256=sha256, file_size=size, nothing=nothing), files
        assert source is not None and row.source_path is not None
        try:
            stream = source.open(row.source_path)
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            raise UnreadableFileError(reason) from error
        with stream:
            if not row.is_image:
                copied = copy_file(stream, target, size=size, modified_at_ns=modified_at_ns)
                modified_at_ns = copied.modified_at_ns
                return StagedResult(
                    row.id, copied.sha256, file_size=size, modified_at_ns=modified_at_ns
                ), []
            content = read_content(stream, size=size, limits=self._limits)
        copied = write_content(content, target, modified_at_ns=modified_at_ns)
        try:
            facts, decoded_here = check_image(content, target, self._limits)
            result = StagedResult(
                row.id,
                copied.sha256,
                facts.width,
                facts.height,
                facts.format,
                size,
                copied.modified_at_ns,
            )
            if not wanted:
                return result, []
            decoded = decoded_here or self._decode(content)
            files, nothing = self._generate(row, copied.sha256, decoded, wanted)
            return replace(result, nothing=nothing), files
        except UnreadableFileError:
            target.unlink(missing_ok=True)
            raise

    def _generate(
        self, row: StagedFileRecord, sha256: str, decoded: DecodedImage, wanted: tuple[str, ...]
    ) -> tuple[list[GeneratedFile], dict[str, Any]]:
        """Make what is wanted of one image, and write it to the staging folder."""
        with _reading_labels:
            dataset = _dataset_of(self._job, self._target)
        made, nothing = generate_contents(
            row.relative_path,
            sha256,
            decoded,
            wanted,
            self._target.generate,
            dataset.merged,
            dataset.generated_at,
            self.problems,
        )
        # Each time another time of change: that is how other content of the same size is seen.
        now = time.time_ns()
        files = []
        for image, *labels in made:
            generation = image.generation
            for file in labels:
                copied = write_content(file.content, self._staging / file.path, modified_at_ns=now)
                files.append(_generated_file(file, row.relative_path, copied, generation))
                # By this the label file is known again, and an edited one told from our own.
                generation = {
                    **generation,
                    "label_path": file.path,
                    **{f"label_{name}": value for name, value in vars(copied).items()},
                }
            copied = write_content(image.content, self._staging / image.path, modified_at_ns=now)
            files.append(_generated_file(image, row.relative_path, copied, generation))
        return files, nothing

    def _decode(self, content: bytes) -> DecodedImage:
        try:
            return decode_image(content, self._limits)
        except ImageError as error:
            raise UnreadableFileError(error.reason) from error

    def _read_known(self, path: str, size: int, modified_at_ns: int) -> bytes:
        try:
            return read_image_file(
                self._target.path / path,
                self._limits,
                expected=(size, modified_at_ns),
            )
        except ImageError as error:
            raise UnreadableFileError(error.reason) from error


def _generated_file(
    file: GeneratedContent, source: str, copied: CopiedFile, generation: dict[str, Any]
) -> GeneratedFile:
    size = file.size
    suffix = PurePosixPath(file.path).suffix.lower()
    return GeneratedFile(
        relative_path=file.path,
        is_image=size is not None,
        generated_from=source,
        generation=generation,
        sha256=copied.sha256,
        width=None if size is None else int(size.width),
        height=None if size is None else int(size.height),
        format=None if size is None else ("PNG" if suffix == ".png" else "JPEG"),
        file_size=copied.size,
        modified_at_ns=copied.modified_at_ns,
    )


_opening = threading.Lock()
_reading_labels = threading.Lock()


@lru_cache(maxsize=1)
def _source_of(_job: JobReference, path: Path) -> FileSource:
    """The source, opened once by each process: listing a large archive takes seconds."""
    source = open_source(path, dataset_limits())
    source.list_files()
    return source


@lru_cache(maxsize=1)
def _dataset_of(_job: JobReference, target: IngestTarget) -> StagedDataset:
    """The labels of everything, read once by each process that generates images."""
    return StagedDataset(open_database(), target)
