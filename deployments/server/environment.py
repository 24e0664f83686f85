"""The environment that Prefect runs in under our commands; set before Prefect is imported."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from deployments.server.state import read_stack_state, running_stack
from storage.errors import ConfigurationError
from storage.files import file_lock
from storage.settings import Settings

_LARGEST_LOG = 10 << 20
_RUN_LOGGING = Path(__file__).with_name("run_logging.yaml")

# Measured: without batches the server's recorder takes six times the CPU per task run and drops
# states in bursts; a busy machine needs more than the default 20 s to start a temporary server.
PREFECT_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # The newer UI loads a library that reports to its makers, whatever is set here.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_API_HOST": "127.0.0.1",
    # A run that is asked for in the UI starts soon; three seconds cost a local server nothing.
    "PREFECT_WORKER_QUERY_SECONDS": "3",
    # The automation for runs that fell silent counts on this.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_TASKS_DEFAULT_NO_CACHE": "true",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "100",
}


def prepare_prefect_environment(
    settings: Settings, *, log_level: str, use_stack: bool = True
) -> None:
    """Set what Prefect reads when it is imported.

    A variable that the person has set stays as it is.
    """
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        if not os.environ[name]:
            del os.environ[name]  # as with our own: an empty variable is one that is not set
    for name, value in PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(settings.prefect_home))
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", log_level)
    if use_stack and "PREFECT_API_URL" not in os.environ:
        stack = running_stack(settings)
        if stack is not None:
            os.environ["PREFECT_API_URL"] = stack.api_url
    Path(os.environ["PREFECT_HOME"]).expanduser().mkdir(parents=True, exist_ok=True)


def log_runs_to_file(settings: Settings, *, verbose: bool) -> Path:
    """Have Prefect write its log to a file, and to the terminal as well if asked; the file.

    To be called before Prefect is imported. A person's own configuration of its log stays.
    """
    log = settings.home / "logs" / "runs.log"
    # A log that cannot be written is no reason for tracebacks between the lines of a result.
    logging.raiseExceptions = False
    log.parent.mkdir(parents=True, exist_ok=True)
    keep_log_short(log)
    os.environ.setdefault("PREFECT_LOGGING_SETTINGS_PATH", str(_RUN_LOGGING))
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_FILE_FILENAME", str(log))
    os.environ.setdefault("PREFECT_LOGGING_ROOT_HANDLERS", "file,console" if verbose else "file")
    return log


def keep_log_short(log: Path) -> None:
    """Put a log aside that has become long, in the place of the one before."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LARGEST_LOG:
            log.replace(log.with_suffix(".log.1"))


def prefect_home(settings: Settings) -> Path:
    """Where Prefect keeps its own state: PREFECT_HOME, else a folder under our home."""
    return Path(os.environ.get("PREFECT_HOME") or settings.prefect_home).expanduser()


@contextmanager
def first_start_alone(settings: Settings) -> Iterator[bool]:
    """Take turns with other first starts of a Prefect server; whether this is such a start.

    The first server of an empty folder makes Prefect's own tables; two that do so at once break
    each other. Later starts do not wait.
    """
    home = prefect_home(settings)
    ready = home / f".ready-{version('prefect')}"
    if ready.exists():
        yield False
        return
    with file_lock(home / ".starting.lock"):
        yield True
    ready.touch()


def named_server() -> str:
    """The address of the API that the environment names: the person's own, or the stack's.

    Raises:
        ConfigurationError: it names none.
    """
    api_url = os.environ.get("PREFECT_API_URL")
    if not api_url:
        raise ConfigurationError(
            "PREFECT_API_URL is not set and the local stack is not running; name a server, e.g. "
            "PREFECT_API_URL=http://127.0.0.1:4200/api, or start the stack with `visionflows up`."
        )
    return api_url


def prefect_address(settings: Settings) -> str | None:
    """The API of the server that the environment names, or of the running stack; asks neither."""
    if named := os.environ.get("PREFECT_API_URL"):
        return named
    stack = read_stack_state(settings)
    return None if stack is None or not stack.is_looked_after() else stack.api_url
