"""Bringing a Prefect server to what the registry says: work pool, deployments, automations."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    DeploymentUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker

from deployments.registry import DEPLOYED_FLOWS, WORK_POOL, DeployedFlow, Schedule
from deployments.server.automations import apply_automations
from storage.errors import ConfigurationError
from storage.settings import Settings

SCHEDULE_OFF = "off"
# What earlier versions deployed under another name: their schedules would start what is gone.
_RENAMED = ("prune-snapshots/prune-snapshots",)


def apply_everything(client: SyncPrefectClient, settings: Settings) -> None:
    """Make what is missing on a server and bring the rest up to date; safe to do again.

    What a person has paused (a deployment, a schedule, an automation) stays paused.

    Raises:
        ConfigurationError: VISIONFLOWS_SCHEDULES names an unknown schedule or has a bad time.
    """
    schedules = chosen_schedules(settings)
    _apply_work_pool(client)
    for name in _RENAMED:
        with suppress(ObjectNotFound):
            client.delete_deployment(client.read_deployment_by_name(name).id)
    for deployed in DEPLOYED_FLOWS:
        deployment_id = _apply_deployment(client, deployed)
        _apply_schedule(client, deployment_id, deployed, schedules)
    apply_automations(client)


def chosen_schedules(settings: Settings) -> dict[str, Schedule]:
    """The schedules that are in force, by slug, with the changes of VISIONFLOWS_SCHEDULES.

    Raises:
        ConfigurationError: it names an unknown schedule or has a bad time.
    """
    known = {
        deployed.schedule.slug: deployed.schedule
        for deployed in DEPLOYED_FLOWS
        if deployed.schedule
    }
    absent = {
        slug
        for slug, schedule in known.items()
        if schedule.needs is not None and getattr(settings, schedule.needs) is None
    }
    for slug, cron in settings.schedules.items():
        if slug not in known:
            raise ConfigurationError(
                f"VISIONFLOWS_SCHEDULES names {slug!r}; there are: {', '.join(sorted(known))}."
            )
        if cron == SCHEDULE_OFF:
            del known[slug]
            continue
        try:
            CronSchedule(cron=cron)
        except ValueError:
            raise ConfigurationError(
                f"VISIONFLOWS_SCHEDULES: {slug} cannot be {cron!r}; it takes five fields as cron "
                f"does ('0 2 * * *' is every day at 2, UTC), or '{SCHEDULE_OFF}'."
            ) from None
        known[slug] = replace(known[slug], cron=cron)
    return {slug: schedule for slug, schedule in known.items() if slug not in absent}


def _apply_work_pool(client: SyncPrefectClient) -> None:
    try:
        client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        pool = WorkPoolCreate(
            name=WORK_POOL,
            type="process",
            description="Runs flows as processes on the machine of the worker.",
            base_job_template=ProcessWorker.get_default_base_job_template(),
        )
        with suppress(ObjectAlreadyExists):  # another may make it in this very moment
            client.create_work_pool(pool)


def _apply_deployment(client: SyncPrefectClient, deployed: DeployedFlow) -> UUID:
    flow = deployed.load()
    values: dict[str, Any] = {
        "version": version("visionflows"),
        "description": deployed.description,
        "tags": list(deployed.tags),
        "parameters": deployed.parameters,
        "concurrency_limit": deployed.concurrency,
        "concurrency_options": None
        if deployed.concurrency is None
        else ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        "work_pool_name": WORK_POOL,
        "entrypoint": deployed.entrypoint,
        # Prefect accepts unknown parameters and fails later; so they are refused at once.
        "parameter_openapi_schema": {
            **flow.parameters.model_dump_for_openapi(),
            "additionalProperties": False,
        },
        "enforce_parameter_schema": True,
        "pull_steps": [],
    }
    try:
        found = client.read_deployment_by_name(deployed.full_name)
    except ObjectNotFound:
        flow_id = client.create_flow(flow)
        return client.create_deployment(flow_id, deployed.name, **values)
    client.update_deployment(found.id, DeploymentUpdate(**values))
    return found.id


def _apply_schedule(
    client: SyncPrefectClient,
    deployment_id: UUID,
    deployed: DeployedFlow,
    chosen: dict[str, Schedule],
) -> None:
    """Schedules that people have added in the UI have other slugs, or none, and are left alone."""
    if deployed.schedule is None:
        return
    slug = deployed.schedule.slug
    found = [
        schedule
        for schedule in client.read_deployment_schedules(deployment_id)
        if schedule.slug == slug
    ]
    if slug not in chosen:
        for schedule in found:
            client.delete_deployment_schedule(deployment_id, schedule.id)
        return
    cron = CronSchedule(cron=chosen[slug].cron, timezone="UTC")
    parameters = chosen[slug].parameters
    if found:
        client.update_deployment_schedule(
            deployment_id, found[0].id, schedule=cron, parameters=parameters
        )
    else:
        client.create_deployment_schedules(
            deployment_id,
            [DeploymentScheduleCreate(schedule=cron, parameters=parameters, slug=slug)],
        )
