"""Figures, times and states as pages write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage.jobs.records import JobRecord
from tasks.reports.report import counted as _counted

_UNITS = ("bytes", "KB", "MB", "GB", "TB")
_STEP = 1000
_MINUTE = 60
_NARROW_BLANK = "\u202f"
_NOTHING = "–"


def number(value: float | None, digits: int = 0) -> str:
    """A figure with a comma between thousands; a dash where there is none."""
    return _NOTHING if value is None else f"{value:,.{digits}f}"


def counted(value: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: 1 image, 2,000 images."""
    said = _counted(value, noun, plural)
    return said.replace(str(value), f"{value:,}", 1)


def share(value: float | None, digits: int = 0) -> str:
    """A share of 0 to 1 in percent."""
    return _NOTHING if value is None else f"{100 * value:.{digits}f}{_NARROW_BLANK}%"


def byte_count(value: float | None) -> str:
    """A size in the unit that fits."""
    if value is None:
        return _NOTHING
    unit = 0
    while value >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:,.{1 if unit and value < 100 else 0}f} {_UNITS[unit]}"


def moment(value: datetime | None) -> str:
    """A time to the minute, in UTC."""
    return _NOTHING if value is None else f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"


def plain(word: str) -> str:
    """A word of the code as people write it: low_brightness is "low brightness"."""
    return word.replace("_", " ")


def job_title(job: JobRecord, names: dict[str, str]) -> str:
    """What a job is about."""
    return names.get(job.subject, job.subject)


def job_state(job: JobRecord) -> str:
    """Where a job stands, in a word or two."""
    if job.is_interrupted:
        return "interrupted"
    if job.cancel_requested and job.status.is_active:
        return "cancelling"
    if job.is_waiting:
        return "waiting for a worker"
    return plain(job.status.value)


def job_tone(job: JobRecord) -> str:
    """The class of style that says at a glance how a job is: busy, good, warn, bad or quiet."""
    if job.is_interrupted:
        return "bad"
    if job.status.is_active:
        return "busy"
    return {
        "completed": "good",
        "completed_with_errors": "warn",
        "failed": "bad",
        "cancelled": "quiet",
    }[job.status.value]


def job_times(job: JobRecord, now: datetime | None = None) -> str:
    """How long a job took, or has taken so far and how long to go."""
    now = now or datetime.now(UTC)
    begun = job.started_at or job.created_at
    if job.completed_at is not None:
        return f"took {_span(job.completed_at - begun)}"
    done = job.processed + job.failed
    so_far = f"for {_span(now - begun)}"
    if not done or not job.remaining or job.is_interrupted:
        return so_far
    return f"{so_far}, about {_span((now - begun) / done * job.remaining)} left"


def _span(span: timedelta) -> str:
    seconds = max(round(span.total_seconds()), 0)
    if seconds < _MINUTE:
        return f"{seconds} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes} min" if minutes < _MINUTE else f"{minutes / _MINUTE:.1f} h"
