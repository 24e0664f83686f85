"""Every setting of visionflows, in one typed class, read from the environment and `.env`."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError

from storage.errors import ConfigurationError, InvalidInputError
from storage.files.places import ObjectPath, place_of


def _available_cores() -> int:
    """Cores that this process may use; a container often has fewer than its host."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class TaskRunnerKind(StrEnum):
    """What the batches of a flow run on."""

    THREADS = "threads"
    PROCESSES = "processes"
    DASK = "dask"
    RAY = "ray"


class Settings(BaseSettings):
    """Settings of visionflows; each is set by the variable `VISIONFLOWS_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="VISIONFLOWS_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    home: Path = Field(
        default_factory=lambda: Path.home() / ".visionflows",
        description=(
            "Folder of all that visionflows writes: database, snapshots, Prefect's state; default: "
            "`~/.visionflows`."
        ),
    )
    store: Path | None = Field(
        default=None,
        description=(
            "Where results and copied projects are kept, as s3://bucket/prefix (gs://, az://), so "
            "that workers share no disk; unset: under the home folder."
        ),
    )
    database_url: str | None = Field(
        default=None,
        description=(
            "PostgreSQL server to use, as postgresql://user:password@host:5432/database. "
            "Unset: an embedded PostgreSQL is started under the home folder."
        ),
    )
    postgresql_folder: Path | None = Field(
        default=None,
        description="Folder of the embedded PostgreSQL, where the default does not suit.",
    )
    workers: int = Field(
        default_factory=_available_cores,
        ge=1,
        le=256,
        description="Batches measured at the same time by one flow run; default: one per core.",
    )
    max_image_pixels: int = Field(
        default=178_956_970,
        ge=1,
        description="Images with more pixels are failed before they are decoded.",
    )
    max_image_bytes: int = Field(
        default=1 << 30,
        ge=1,
        description="Image files larger than this are failed before they are read.",
    )
    max_image_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Time limit for one image in a decoder that runs in a process of its own.",
    )
    max_label_bytes: int = Field(
        default=16 << 20,
        ge=1,
        description=(
            "Label files of one image larger than this are not read (JSON, which may hold the "
            "picture: four times this); reading one takes up to thirty times its size."
        ),
    )
    max_label_file_bytes: int = Field(
        default=1 << 30,
        ge=1,
        description="Files with the labels of many images (COCO) larger than this are not read.",
    )
    max_all_label_bytes: int = Field(
        default=2 << 30,
        ge=1,
        description="Folders and archives whose label files are larger together are refused.",
    )
    max_classes: int = Field(
        default=10_000,
        ge=1,
        description="Different classes of a dataset that are named and counted; more are reported.",
    )
    max_archive_members: int = Field(
        default=5_000_000,
        ge=1,
        description="Archives with more members are refused.",
    )
    max_inflated_ratio: int = Field(
        default=200,
        ge=1,
        description=(
            "Archives are refused as attacks where a label file of 1 MiB or more, or all images "
            "and labels together, inflate to more than this many times their size."
        ),
    )
    max_upload_bytes: int = Field(
        default=20 << 30,
        ge=1,
        description="Files larger than this are not taken as uploads.",
    )
    max_staged_bytes: int = Field(
        default=100 << 30,
        ge=1,
        description="The files of one staged upload may not be larger together.",
    )
    max_upload_files: int = Field(
        default=10_000,
        ge=1,
        description="Files of one staged upload at most; a ZIP file may have more.",
    )
    upload_hours: float = Field(
        default=24.0,
        gt=0,
        le=8760,
        description="Hours after which a staged upload is pruned to which nothing has happened.",
    )
    task_runner: TaskRunnerKind = Field(
        default=TaskRunnerKind.THREADS,
        description="What batches run on: threads, processes, dask, or ray (extras dask and ray).",
    )
    task_runner_address: str | None = Field(
        default=None,
        description=(
            "Address of a Dask scheduler or a Ray cluster that exists; unset: one is started on "
            "this machine for every run."
        ),
    )
    stack_port: int = Field(
        default=4200,
        ge=1,
        le=65535,
        description="Port of the local stack's UI and API; when it is taken, the next free one.",
    )
    web_port: int = Field(
        default=4201,
        ge=1,
        le=65535,
        description="Port of the HTTP API of the local stack; when it is taken, the next free one.",
    )
    web_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s<>]+)?$",
        description=(
            "Address of the pages as people reach them: results in Prefect then link there. "
            "`visionflows up` gives its own to the runs that it works on."
        ),
    )
    web_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description=(
            "Token that every request to the HTTP API shows; at least 16 characters. Needed where "
            "it listens on another address than 127.0.0.1."
        ),
    )
    server_idle_minutes: float = Field(
        default=10.0,
        ge=0,
        le=10_000,
        description=(
            "Minutes after its last run at which the Prefect server ends that commands share; with "
            "0 each command has one of its own, which ends with it."
        ),
    )
    runs_per_worker: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Flow runs that one worker has at work at the same time; others wait.",
    )
    schedules: dict[str, str] = Field(
        default_factory=dict,
        description=(
            "Other times for schedules of the local stack, as JSON: "
            '{"quality-nightly": "30 1 * * *"}; "off" removes one. Times are cron\'s, in UTC.'
        ),
    )
    snapshots_kept: int = Field(
        default=30,
        ge=1,
        description="Snapshots kept per subject; older ones are removed when a new one is written.",
    )

    sessions_root: Path | None = Field(
        default=None,
        description="Folder of the generation sessions, where none is named.",
    )
    inference_batch_size: int | None = Field(
        default=None,
        ge=1,
        le=512,
        description=(
            "Images that a model takes and that are stored at a time; unset: what suits the model "
            "and the device."
        ),
    )
    data_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description=(
            "Folders, and URLs of buckets, in which runs of deployments may read and write, "
            "separated as in PATH. "
            "Unset: the home folder alone; runs on the command line are free."
        ),
    )

    @field_validator("store", mode="before")
    @classmethod
    def _require_url(cls, value: object) -> object:
        """Take the URL of a bucket, or of a prefix in one."""
        place = place_of(value) if isinstance(value, str | Path) else None
        if value is not None and not isinstance(place, ObjectPath):
            raise ValueError("it is not a URL like s3://bucket/prefix")
        return place

    @field_validator("data_roots", mode="before")
    @classmethod
    def _split_folders(cls, value: object) -> object:
        """Read folders separated by `:` (`;` on Windows); each must be absolute or begin with ~."""
        if not isinstance(value, str):
            return value
        parts = re.split(r":(?!//)" if os.pathsep == ":" else os.pathsep, value)
        folders = [place_of(part.strip()).expanduser() for part in parts if part.strip()]
        for folder in folders:
            if not folder.is_absolute() and not isinstance(folder, ObjectPath):
                raise ValueError(f"{str(folder)!r} is not an absolute path")
        return tuple(folders)

    @property
    def shortest_chunk_seconds(self) -> float:
        """Estimated work of a mapped task: at least some twenty times what starting it costs."""
        return 1.0 if self.task_runner is TaskRunnerKind.THREADS else 4.0

    @property
    def kept_folder(self) -> Path:
        """What is written to be kept lies below: the store, or else the home."""
        return self.store or self.home

    @property
    def snapshots_folder(self) -> Path:
        """Where Parquet snapshots lie."""
        return self.kept_folder / "snapshots"

    @property
    def projects_folder(self) -> Path:
        """Where projects lie whose files visionflows keeps, and what is staged for them."""
        return self.kept_folder / "projects"

    @property
    def uploads_folder(self) -> Path:
        """Where the files of staged uploads lie, under their ids."""
        return self.home / "uploads"

    @property
    def thumbnails_folder(self) -> Path:
        """Where small pictures of images are kept, by the sha256 of their content."""
        return self.kept_folder / "thumbnails"

    @property
    def training_sets_folder(self) -> Path:
        """Where training sets lie, unless a person names another folder."""
        return self.home / "training_sets"

    @property
    def runs_folder(self) -> Path:
        """Where runs of inference keep their polygons."""
        return self.kept_folder / "runs"

    @property
    def reports_folder(self) -> Path:
        """Where reports lie that are too large for Prefect's artifacts."""
        return self.kept_folder / "reports"

    def report_page(self, flow: str, subject_id: object) -> Path:
        """Where the page is that a flow keeps of a subject."""
        return self.reports_folder / flow / f"{subject_id}.html"

    @property
    def exports_folder(self) -> Path:
        """Where exports of registered weights are kept."""
        return self.home / "exports"

    @property
    def prefect_home(self) -> Path:
        """Where Prefect keeps its own state, apart from any other Prefect of this user."""
        return self.home / "prefect"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once.

    Raises:
        ConfigurationError: a variable has a value that its setting does not allow.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "VISIONFLOWS_" + "_".join(str(part) for part in first["loc"]).upper()
        is_secret = first["loc"] == ("web_token",)
        given = "what it is" if is_secret else repr(first.get("input"))
        raise ConfigurationError(f"{name} cannot be {given}: {first['msg']}.") from error
    except SettingsError as error:  # a value that should be JSON is not
        raise ConfigurationError(
            'VISIONFLOWS_SCHEDULES is not JSON; it looks like {"quality-nightly": "0 3 * * *"}.'
        ) from error
    folder, sessions = settings.postgresql_folder, settings.sessions_root
    return settings.model_copy(
        update={
            "home": settings.home.expanduser().resolve(),
            "postgresql_folder": folder and folder.expanduser().resolve(),
            "sessions_root": sessions and place_of(sessions).expanduser().resolve(),
        }
    )


def check_within_data_roots(
    path: Path | str,
    *,
    for_deployment: bool,
    settings: Settings | None = None,
    may_be_url: bool = False,
) -> Path:
    """The path without `~`, links and `..`, if files may be used there.

    A run of a deployment does what anybody who reaches Prefect's API asks for, so it stays inside
    VISIONFLOWS_DATA_ROOTS, or inside the home folder and the store while that is not set. A run in
    the process of the person who typed it is bound only where the setting is set. A run is
    `for_deployment` where `prefect.runtime.deployment.id is not None`. The path need not exist yet.
    It `may_be_url` where the flow reads buckets; any other flow gets a path of this machine.

    Raises:
        InvalidInputError: the path lies elsewhere, cannot be stored, or its links lead in circles;
            the message names the setting.
    """
    settings = settings or get_settings()
    resolved = _resolved(place_of(path))
    if isinstance(resolved, ObjectPath) and not may_be_url:
        raise InvalidInputError(
            f"{resolved} is in a bucket; name a folder or file of this machine."
        )
    roots = settings.data_roots
    if not roots and not for_deployment:
        return resolved
    own = {settings.home: None, settings.kept_folder: None}
    allowed = [_resolved(root) for root in roots or own]
    if any(resolved.is_relative_to(root) for root in allowed):
        return resolved
    leads = "" if resolved == place_of(path) else f" (it leads to {resolved})"
    raise InvalidInputError(
        f"{place_of(path)}{leads} lies outside of the folders that may be used: "
        f"{', '.join(map(str, allowed))}. To allow another one, set VISIONFLOWS_DATA_ROOTS to all "
        "allowed folders where the flow runs, and start the stack or the worker there again "
        "(`visionflows up --data-root FOLDER`)."
    )


def _resolved(path: Path) -> Path:
    try:
        resolved = path.expanduser().resolve()
        str(resolved).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidInputError(f"The path {str(path)!r} is not UTF-8; rename it.") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInputError(f"{str(path)!r} is not a path: {error}.") from error
    return resolved
