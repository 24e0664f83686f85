"""The times that folder names and manifests tell."""

from __future__ import annotations

import re
from datetime import UTC, datetime, tzinfo

# `20251014_173320-name` and `2025-10-14_173320_name`; the name may be missing.
_DATED_NAME = re.compile(
    r"(?:([0-9]{4})([0-9]{2})([0-9]{2})|([0-9]{4})-([0-9]{2})-([0-9]{2}))"
    r"_([0-9]{2})([0-9]{2})([0-9]{2})(?![0-9])"
)


def time_in_name(name: str, time_zone: tzinfo | None = None) -> datetime | None:
    """The time, in UTC, that a folder is named for; None where it begins with none that exists.

    `time_zone` is that of the clock it was taken from; None for this machine's.
    """
    found = _DATED_NAME.match(name)
    if found is None:
        return None
    numbers = [int(group) for group in found.groups() if group is not None]
    year, month, day, hour, minute, second = numbers
    try:
        return in_utc(datetime(year, month, day, hour, minute, second), time_zone)
    except (ValueError, OverflowError, OSError):
        return None


def stated_time(text: str, time_zone: tzinfo | None = None) -> datetime:
    """Read a time in ISO 8601, with or without its zone.

    Raises:
        ValueError: it is no such time, or none that can be told in UTC.
    """
    try:
        return in_utc(datetime.fromisoformat(text.strip()), time_zone)
    except (OverflowError, OSError) as error:
        raise ValueError("out of range") from error


def in_utc(time: datetime, time_zone: tzinfo | None = None) -> datetime:
    """Tell a time in UTC; where it does not tell its zone, it is of the given or this machine's."""
    if time.tzinfo is None and time_zone is not None:
        time = time.replace(tzinfo=time_zone)
    return time.astimezone(UTC)
