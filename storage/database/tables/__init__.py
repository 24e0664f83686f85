"""The tables, one module per noun; importing this package registers all of them."""

from storage.database.tables.collections import Collection, CollectionImage
from storage.database.tables.images import ProjectImage, ProjectImageState, SharedImage
from storage.database.tables.inference import (
    DetectionModel,
    ImageDetections,
    ImageResult,
    InferenceRun,
)
from storage.database.tables.ingests import ProjectIngest, StagedFile
from storage.database.tables.jobs import Job, JobChunk, JobChunkState, JobKind, JobStatus
from storage.database.tables.projects import Project
from storage.database.tables.quality import (
    ImageQualityMetrics,
    MeasurementStatus,
    ProjectImageQuality,
)
from storage.database.tables.releases import Release, ReleaseStatsSource, ReleaseStatsStatus
from storage.database.tables.sessions import (
    SessionFolder,
    SessionFolderState,
    SessionManifestStatus,
    SessionMetadata,
    SessionStats,
    SessionStatsSource,
)

__all__ = [
    "Collection",
    "CollectionImage",
    "DetectionModel",
    "ImageDetections",
    "ImageQualityMetrics",
    "ImageResult",
    "InferenceRun",
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
