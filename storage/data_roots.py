"""Where files may lie that are named from afar: through Prefect's API, its UI, or a schedule."""

from __future__ import annotations

from pathlib import Path

from storage.errors import InvalidInputError
from storage.settings import Settings, get_settings


def check_within_data_roots(
    path: Path | str, *, for_deployment: bool, settings: Settings | None = None
) -> Path:
    """The path without `~`, links and `..`, if files may be used there.

    A run of a deployment does what anybody who reaches Prefect's API asks for, so it stays inside
    VISIONFLOWS_DATA_ROOTS, or inside the home folder while that is not set. A run in the process of
    the person who typed it is bound only where the setting is set. A run is `for_deployment` where
    `prefect.runtime.deployment.id is not None`. The path need not exist yet.

    Raises:
        InvalidInputError: the path lies elsewhere, cannot be stored, or its links lead in circles;
            the message names the setting.
    """
    settings = settings or get_settings()
    resolved = _resolved(Path(path))
    roots = settings.data_roots
    if not roots and not for_deployment:
        return resolved
    allowed = [_resolved(root) for root in roots or (settings.home,)]
    if any(resolved.is_relative_to(root) for root in allowed):
        return resolved
    leads = "" if resolved == Path(path) else f" (it leads to {resolved})"
    raise InvalidInputError(
        f"{path}{leads} lies outside of the folders that may be used: "
        f"{', '.join(map(str, allowed))}. To allow another one, set VISIONFLOWS_DATA_ROOTS to all "
        "allowed folders where the flow runs."
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
