"""The tables, one module per noun; importing this package registers all of them."""

from storage.tables.images import ProjectImage, ProjectImageState, SharedImage
from storage.tables.ingests import ProjectIngest, StagedFile
from storage.tables.jobs import Job, JobChunk, JobChunkState, JobKind, JobStatus
from storage.tables.projects import Project
from storage.tables.quality import ImageQualityMetrics, MeasurementStatus, ProjectImageQuality
from storage.tables.releases import Release, ReleaseStatsSource, ReleaseStatsStatus
from storage.tables.sessions import (
    SessionFolder,
    SessionFolderState,
    SessionManifestStatus,
    SessionMetadata,
    SessionStats,
    SessionStatsSource,
)

__all__ = [
    "ImageQualityMetrics",
    "Job",
    "JobChunk",
    "JobChunkState",
    "JobKind",
    "JobStatus",
    "MeasurementStatus",
    "Project",
    "ProjectImage",
    "ProjectImageQuality",
    "ProjectImageState",
    "ProjectIngest",
    "Release",
    "ReleaseStatsSource",
    "ReleaseStatsStatus",
    "SessionFolder",
    "SessionFolderState",
    "SessionManifestStatus",
    "SessionMetadata",
    "SessionStats",
    "SessionStatsSource",
    "SharedImage",
    "StagedFile",
]
