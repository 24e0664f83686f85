"""Which folder of sessions is meant."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

from storage.database.connection import open_database
from storage.errors import ConfigurationError, InvalidInputError
from storage.files.places import ObjectPath, place_of
from storage.sessions.sessions import find_sessions_root
from storage.settings import check_within_data_roots, get_settings


def resolve_sessions_root(
    given: str | None, session_ids: list[str] | None = None, *, for_deployment: bool
) -> str:
    """The folder that holds the sessions: the given one, that of the setting, or that of some ids.

    Whoever runs the machine has set that of the setting: a deployment may look there.

    Raises:
        ConfigurationError: none is given, and the setting names none.
        InvalidInputError: it is no folder, or lies where this run may not look.
    """
    setting = get_settings().sessions_root
    if not given and setting is None and session_ids:
        given = find_sessions_root(open_database(), session_ids)
    if given:
        resolved = place_of(given).expanduser().resolve()
        if setting is None or not resolved.is_relative_to(setting):
            resolved = check_within_data_roots(
                given, for_deployment=for_deployment, may_be_url=True
            )
    elif setting is not None:
        resolved = setting
    else:
        raise ConfigurationError(
            "No folder of sessions is named: give one, or set VISIONFLOWS_SESSIONS_ROOT."
        )
    if not resolved.is_dir():
        raise InvalidInputError(f"{resolved} is not a folder.")
    return str(resolved)


def sessions_root_id(root: str) -> UUID:
    """What snapshots and pages of a folder of sessions are kept under."""
    place = place_of(root)
    return uuid5(NAMESPACE_URL, root if isinstance(place, ObjectPath) else place.as_uri())
