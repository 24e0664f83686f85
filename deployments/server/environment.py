"""The environment that Prefect runs in under our commands; set before Prefect is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from deployments.server.state import running_stack
from storage.errors import ConfigurationError
from storage.files import file_lock
from storage.settings import Settings

# Measured: without batches the server's recorder takes six times the CPU per task run and drops
# states in bursts; a busy machine needs more than the default 20 s to start a temporary server.
_DEFAULTS = {
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
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
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
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PREFECT_HOME", str(settings.prefect_home))
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", log_level)
    if use_stack and "PREFECT_API_URL" not in os.environ:
        stack = running_stack(settings)
        if stack is not None:
            os.environ["PREFECT_API_URL"] = stack.api_url
    Path(os.environ["PREFECT_HOME"]).expanduser().mkdir(parents=True, exist_ok=True)


@contextmanager
def first_start_alone(settings: Settings) -> Iterator[None]:
    """Take turns with other first starts of a Prefect server.

    The first server of an empty folder makes Prefect's own tables; two that do so at once break
    each other. Later starts do not wait.
    """
    home = Path(os.environ.get("PREFECT_HOME", settings.prefect_home)).expanduser()
    ready = home / f".ready-{version('prefect')}"
    if ready.exists():
        yield
        return
    with file_lock(home / ".starting.lock"):
        yield
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
