"""compute-session-stats: what every session of image generation promised, and what it delivered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from prefect import runtime
from prefect.client.schemas.objects import State
from pydantic import Field

from flows.running.job import FlowJob, Outcome, own_parameters, run_as_job
from storage.database.connection import open_database
from storage.database.tables.jobs import JobKind
from storage.sessions.root import resolve_sessions_root
from storage.sessions.sessions import gather_planner_statistics
from tasks.reports.keys import artifact_key
from tasks.reports.report import counted
from tasks.running.decorators import flow
from tasks.running.progress import Shown
from tasks.sessions.steps import (
    SessionsChosen,
    compute_chunk,
    plan_session_stats,
    publish_session_report,
    snapshot_subject,
    write_session_snapshot,
)


def _run_name(values: Mapping[str, Any]) -> str:
    sessions, root = values["session_ids"], values["sessions_root"]
    what = "sessions" if sessions is None else counted(len(sessions), "session")
    return what if root is None else f"{what} in {root}"


@flow(name="compute-session-stats", run_name=_run_name)
def compute_session_stats(
    sessions_root: str | None = None,
    session_ids: list[str] | None = None,
    force_refresh: bool = False,
    stats_without_manifest: bool = True,
    accept_losses: bool = False,
    batch_size: Annotated[int, Field(ge=1, le=1000)] = 50,
) -> State[dict[str, Any]]:
    """Compute the statistics of the generation sessions below a folder.

    Sessions whose folder and manifest have not changed are left out; nothing of them is opened. A
    session that cannot be looked at is failed with the reason, and the others are computed. While
    a job for the folder is at work, a second start reports that one.

    Args:
        sessions_root: Folder that holds the sessions; left out, VISIONFLOWS_SESSIONS_ROOT, or
            where that is not set, the folder that the named sessions were found in.
        session_ids: Only these sessions (ids, or paths below the folder); left out, all.
        force_refresh: Compute all again, changed or not.
        stats_without_manifest: Also sessions without a manifest, from their images and folder.
        accept_losses: Go on although more than half of the known sessions are gone.
        batch_size: Sessions stored at a time; progress and cancellation move by batches.

    Returns:
        A state that carries the result of the job; Cancelled when the job was cancelled.
    """
    chosen = SessionsChosen(
        resolve_sessions_root(
            sessions_root, session_ids, for_deployment=runtime.deployment.id is not None
        ),
        None if session_ids is None else tuple(dict.fromkeys(session_ids)),
        force_refresh,
        stats_without_manifest,
        accept_losses,
    )

    def work(job: FlowJob) -> Outcome:
        plan = plan_session_stats(job.reference, chosen)
        job.map(compute_chunk, plan.chunks, batch_size=batch_size)
        if plan.chunks:
            gather_planner_statistics(open_database())
        snapshot = write_session_snapshot(
            job.reference, chosen.root, {"force_refresh": str(chosen.force)}
        )
        result = {
            **plan.counts,
            "left_out": plan.left_out_count,
            "left_out_folders": plan.left_out,
            "snapshot": snapshot,
        }
        page = publish_session_report(chosen.root, job.reference, result, plan.left_out)
        return Outcome({**result, "page": page})

    return run_as_job(
        JobKind.SESSION_STATS,
        chosen.root,
        work,
        parameters=own_parameters("sessions_root"),
        shown=Shown(
            artifact_key("sessions-progress", chosen.root, str(snapshot_subject(chosen.root).id)),
            f"Sessions in {chosen.root}",
            done="computed",
            items="sessions",
        ),
    )
