"""Every flow that is deployed: a new flow is one entry here.

The command that brings up the local stack, `deployments/prefect.yaml` and the documentation are all
made from this list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from storage.errors import NotFoundError

if TYPE_CHECKING:
    from prefect import Flow

WORK_POOL = "visionflows"


@dataclass(frozen=True)
class Schedule:
    """When a deployment runs by itself.

    Attributes:
        slug: what a schedule is known by when it is applied again, and in VISIONFLOWS_SCHEDULES.
        cron: five fields, in UTC.
        needs: a setting without which its runs would have nothing to do; where it is not given,
            there is no such schedule.
    """

    slug: str
    cron: str
    parameters: dict[str, Any] = field(default_factory=dict)
    needs: str | None = None


@dataclass(frozen=True)
class DeployedFlow:
    """A flow that a worker runs on request, by schedule (None: never) or by event.

    It is a function of its own name in `flows/`, in the module of that name or in `module`.
    At most `concurrency` of its runs are at work at the same time on all workers; None for as many
    as they take. One job per subject holds without it. Its `description` is Markdown for the UI.
    """

    name: str
    description: str
    tags: tuple[str, ...]
    schedule: Schedule | None = None
    concurrency: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    module: str | None = None

    @property
    def entrypoint(self) -> str:
        """Module and function, as Python imports them."""
        function = self.name.replace("-", "_")
        return f"flows.{self.module or function}.{function}"

    @property
    def full_name(self) -> str:
        """Flow and deployment, as Prefect writes them."""
        return f"{self.name}/{self.name}"

    def load(self) -> Flow[..., Any]:
        """Import the flow, and Prefect with it."""
        module, _, function = self.entrypoint.rpartition(".")
        return cast("Flow[..., Any]", getattr(import_module(module), function))


DEPLOYED_FLOWS: tuple[DeployedFlow, ...] = (
    DeployedFlow(
        name="ingest-project",
        description=(
            "Brings images and labels of a folder or ZIP into a project, and projects up to date "
            "with their folders. Nothing is part of a project before all of it is staged and read. "
            "A project whose images have changed is measured by quality-metrics afterwards."
        ),
        tags=("visionflows", "ingest"),
        # Every hour all projects are compared with their folders.
        schedule=Schedule(slug="sync-projects", cron="30 * * * *"),
    ),
    DeployedFlow(
        name="quality-metrics",
        description=(
            "Measures every image of a project: sharpness, focus, brightness, contrast, "
            "uniqueness, issues. Images that are measured already are left out. Runs by itself "
            "after an ingest."
        ),
        tags=("visionflows", "quality"),
    ),
    DeployedFlow(
        name="measure-projects",
        description=(
            "Starts quality-metrics for every project; one without new images takes seconds."
        ),
        tags=("visionflows", "quality", "maintenance"),
        schedule=Schedule(slug="quality-nightly", cron="0 2 * * *"),
        concurrency=1,
    ),
    DeployedFlow(
        name="collection-inference",
        description=(
            "Finds, outlines and counts objects on every image of a collection with a registered "
            "model. Images that have a result are left out; another threshold needs no inference."
        ),
        tags=("visionflows", "inference"),
    ),
    DeployedFlow(
        name="compare-runs",
        description=(
            "Compares two runs of collection-inference, image by image and class by class: two "
            "thresholds, or two models."
        ),
        tags=("visionflows", "inference"),
    ),
    DeployedFlow(
        name="evaluate-run",
        description=(
            "Compares what a run has found with the labels of its images: precision, recall and "
            "count errors at every threshold, and labels that are probably wrong."
        ),
        tags=("visionflows", "inference"),
    ),
    DeployedFlow(
        name="prepare-training-set",
        description=(
            "Makes one YOLO dataset of several projects: classes of the same name become one, and "
            "near-duplicates stay in one split."
        ),
        tags=("visionflows", "training"),
    ),
    DeployedFlow(
        name="create-release",
        description=(
            "Writes a project as a release archive in the YOLO format, registers it and computes "
            "its statistics. The same project and parameters give the same bytes."
        ),
        tags=("visionflows", "releases"),
    ),
    DeployedFlow(
        name="build-release-stats",
        description=(
            "Computes the statistics of releases from their archives: images per split, classes, "
            "shapes, problems. Without parameters, of all that are pending or stale."
        ),
        tags=("visionflows", "releases"),
    ),
    DeployedFlow(
        name="check-release-stats",
        module="build_release_stats",
        description=(
            "Looks at all releases and builds the statistics that are missing, failed or outdated."
        ),
        tags=("visionflows", "releases", "maintenance"),
        schedule=Schedule(slug="release-check", cron="0 * * * *"),
        concurrency=1,
    ),
    DeployedFlow(
        name="compute-session-stats",
        description=(
            "Computes the statistics of the generation sessions below a folder. Sessions that have "
            "not changed are left out."
        ),
        tags=("visionflows", "sessions"),
        schedule=Schedule(slug="session-stats", cron="*/15 * * * *", needs="sessions_root"),
    ),
    DeployedFlow(
        name="prune",
        description=(
            "Removes old Parquet snapshots by count and age; the newest of each subject stays. "
            "Ends removals that were broken off, forgets images that nothing holds any more, and "
            "removes what killed processes have left."
        ),
        tags=("visionflows", "maintenance"),
        schedule=Schedule(slug="prune-nightly", cron="0 4 * * *"),
        concurrency=1,
    ),
)


def find_deployed_flow(name: str) -> DeployedFlow:
    """A deployed flow by its name.

    Raises:
        NotFoundError: there is none; the message names those that exist.
    """
    for deployed in DEPLOYED_FLOWS:
        if deployed.name == name:
            return deployed
    names = ", ".join(deployed.name for deployed in DEPLOYED_FLOWS)
    raise NotFoundError(f"There is no deployed flow {name!r}; there are: {names}.")
