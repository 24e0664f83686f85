"""Every flow that is deployed: a new flow is one entry here.

The command that brings up the local stack, `deployments/prefect.yaml` and the documentation are all
made from this list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from storage.errors import NotFoundError

WORK_POOL = "visionflows"


@dataclass(frozen=True)
class Schedule:
    """When a deployment runs by itself.

    Attributes:
        slug: what a schedule is known by when it is applied again, and in VISIONFLOWS_SCHEDULES.
        cron: five fields, in UTC.
        parameters: what the scheduled runs get besides the deployment's own parameters.
    """

    slug: str
    cron: str
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DeployedFlow:
    """A flow that a worker runs on request, by schedule or by event.

    Attributes:
        name: name of the flow, and of its deployment.
        entrypoint: module and function, as Python imports them.
        description: what it does, for people who look at it in the UI (Markdown).
        tags: what its runs are found by.
        schedule: when it runs by itself; None for never.
        concurrency: how many of its runs may be at work at the same time on all workers; None for
            as many as the workers take. One job per subject holds without it.
        parameters: defaults that differ from those of the function.
    """

    name: str
    entrypoint: str
    description: str
    tags: tuple[str, ...]
    schedule: Schedule | None = None
    concurrency: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        """Flow and deployment, as Prefect writes them."""
        return f"{self.name}/{self.name}"


DEPLOYED_FLOWS: tuple[DeployedFlow, ...] = (
    DeployedFlow(
        name="quality-metrics",
        entrypoint="flows.quality_metrics.quality_metrics",
        description=(
            "Measures every image of a project: sharpness, focus, brightness, contrast, "
            "uniqueness, issues. Images that are measured already are left out. Runs by itself "
            "after an ingest."
        ),
        tags=("visionflows", "quality"),
    ),
    DeployedFlow(
        name="measure-projects",
        entrypoint="flows.measure_projects.measure_projects",
        description=(
            "Starts quality-metrics for every project; one without new images takes seconds."
        ),
        tags=("visionflows", "quality", "maintenance"),
        schedule=Schedule(slug="quality-nightly", cron="0 2 * * *"),
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
