"""What is known of a session: the plain values that everything else makes, stores and shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

from storage.records import SessionManifestStatus, SessionStatsSource
from tasks.reports.problem_log import Problem
from tasks.sessions.problems import SessionProblemCode

# Raised when the same folder would give other statistics than before: stored rows are then stale.
STATS_VERSION = 2

# Seeds are unsigned 64-bit numbers (ComfyUI draws from all of them); -1 asks for a random one.
# A signed 64-bit column cannot hold the upper half: NUMERIC(20, 0), decimal128(20, 0) in Parquet.
SMALLEST_SEED = -(2**63)
LARGEST_SEED = 2**64 - 1

SUMMARY_VALUES = 10
"""Values of a placeholder that the summary shows."""


@dataclass(frozen=True, slots=True)
class SessionFingerprint:
    """What a look at a folder and its manifest tells without opening anything.

    Two equal fingerprints mean that no file came or went and that the manifest was not written:
    a folder's time changes whenever a file in it appears, disappears or is renamed, so the number
    of images need not be counted.

    Attributes:
        folder_mtime_ns: when the folder's list of files changed last; nanoseconds since 1970.
        manifest_mtime_ns: when `manifest.json` was written last; None where there is none.
    """

    folder_mtime_ns: int
    manifest_mtime_ns: int | None
    manifest_size: int | None

    @property
    def has_manifest(self) -> bool:
        """Whether there is a `manifest.json`."""
        return self.manifest_size is not None


@dataclass(frozen=True, slots=True)
class SessionFolder:
    """A folder with a session, whose id is its path below the sessions' root, with `/`."""

    session_id: str
    path: Path
    fingerprint: SessionFingerprint


@dataclass(frozen=True, slots=True)
class FoundSessions:
    """What a search below a root found; sessions are in the order of their ids."""

    sessions: tuple[SessionFolder, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """How sessions are looked at.

    Attributes:
        ongoing_for: a session whose newest file is younger than this may still be written.
        sample_size: how many images are opened at most where there is no manifest to tell; 0 opens
            none.
        time_zone: of times that do not tell theirs (folder names, most manifests); None takes the
            zone of this machine.
    """

    ongoing_for: timedelta = timedelta(minutes=5)
    sample_size: int = 16
    time_zone: tzinfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedFacts:
    """What a manifest can say of a session; the table `session_stats` says what each is."""

    sd_model: str | None = None
    sd_model_hash: str | None = None
    template_version: str | None = None
    generation_mode: str | None = None
    seed_mode: str | None = None
    seed_base: int | None = None
    resolved_prompt: str | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    sampler_name: str | None = None
    images_expected: int = 0
    is_seed_sweep: bool = False
    placeholders_json: Mapping[str, int] = field(default_factory=dict)
    variations_summary_json: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    manifest_generated_at: datetime | None = None
    manifest_status: SessionManifestStatus | None = None
    seed_min: int | None = None
    seed_max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStatistics(StatedFacts):
    """All that is known of one session. None means unknown.

    Texts may hold any characters that a file can hold (also NUL and half surrogates) and are of
    bounded length. All times carry their zone (UTC).

    The columns of the table `session_stats`, which says what each is, and `fingerprint`: what the
    folder looked like before it was read.
    """

    session_id: str
    session_path: str
    images_actual: int = 0
    completion_percentage: float = 0.0
    session_created_at: datetime | None = None
    first_image_created_at: datetime | None = None
    last_image_created_at: datetime | None = None
    stats_computed_at: datetime
    stats_version: int = STATS_VERSION
    stats_source: SessionStatsSource = SessionStatsSource.FILESYSTEM
    is_ongoing: bool = False
    look_again: bool = False
    images_listed: int | None = None
    images_listed_absent: int | None = None
    images_unlisted: int | None = None
    images_sampled: int = 0
    problems: tuple[Problem, ...] = ()
    fingerprint: SessionFingerprint

    @property
    def is_readable(self) -> bool:
        """Whether the folder could be looked at in full; else the counts say nothing of it."""
        codes = {problem.code for problem in self.problems}
        return not codes & {
            SessionProblemCode.FOLDER_MISSING,
            SessionProblemCode.FOLDER_UNREADABLE,
            SessionProblemCode.IMAGE_UNREADABLE,
        }
