"""What happens by itself on a Prefect server: its reactions to events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from deployments.registry import find_deployed_flow
from flows.running.project_events import PROJECT_INGESTED, PROJECT_RESOURCE, QUALITY_AFTER_INGEST

SILENT_RUNS = "runs that fell silent are crashed"

# A running flow reports every 30 s (prefect_environment.py); three reports are missed.
_SILENCE = timedelta(seconds=90)


def apply_automations(client: SyncPrefectClient) -> list[str]:
    """Make the automations of visionflows, or bring them up to date; their names. Safe to do again.

    One that a person has paused stays paused.

    Raises:
        prefect.exceptions.ObjectNotFound: a deployment that an automation starts is missing.
    """
    quality = client.read_deployment_by_name(find_deployed_flow("quality-metrics").full_name)
    automations = [quality_after_ingest(quality.id), silent_runs()]
    for automation in automations:
        _apply(client, automation)
    return [automation.name for automation in automations]


def quality_after_ingest(deployment_id: UUID) -> AutomationCore:
    """A project whose images have changed is measured."""
    return AutomationCore(
        name=QUALITY_AFTER_INGEST,
        description="Starts quality-metrics for a project whose images have changed.",
        trigger=EventTrigger(
            expect={PROJECT_INGESTED},
            match={"prefect.resource.id": f"{PROJECT_RESOURCE}.*"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=deployment_id,
                parameters={
                    "project": {
                        "__prefect_kind": "jinja",
                        "template": "{{ event.payload.project }}",
                    }
                },
            )
        ],
    )


def silent_runs() -> AutomationCore:
    """A run whose machine went down is not shown as running for ever."""
    over = ("Completed", "Failed", "Cancelled", "Crashed")
    return AutomationCore(
        name=SILENT_RUNS,
        description=(
            "A run that has sent no heartbeat for 90 seconds has lost its process: it is shown as "
            "crashed. Starting the flow again does the rest."
        ),
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={
                "prefect.flow-run.heartbeat",
                *(f"prefect.flow-run.{state}" for state in over),
            },
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENCE,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="No heartbeat for 90 seconds: the process of this run is gone.",
            )
        ],
    )


def _apply(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return
    # Two that applied at the same time have each made one.
    for superfluous in found[1:]:
        client.delete_automation(superfluous.id)
    kept = found[0]
    if not _is_same(kept, wanted):
        client.update_automation(kept.id, wanted.model_copy(update={"enabled": kept.enabled}))


def _is_same(found: AutomationCore, wanted: AutomationCore) -> bool:
    def content(automation: AutomationCore) -> Sequence[object]:
        shown = automation.model_dump(mode="json", include={"description", "trigger", "actions"})
        trigger = {
            name: sorted(value) if isinstance(value, list) else value
            for name, value in shown["trigger"].items()
            if name != "id"
        }
        return (shown["description"], trigger, shown["actions"])

    return content(found) == content(wanted)
