"""ingest-project: a folder or ZIP becomes a project, and projects are kept in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed

from flows.running.job import FlowJob, Outcome, do_job
from flows.running.project_events import emit_project_ingested
from flows.running.project_names import name_of_project
from storage.database.connection import Database, open_database
from storage.database.tables.jobs import JobKind, JobStatus
from storage.errors import InvalidInputError, JobCancelledError, VisionflowsError
from storage.files.places import place_of
from storage.projects.projects import find_project
from storage.projects.uploads import end_upload, upload_of_source
from storage.settings import check_within_data_roots
from tasks.projects.generated.options import GenerationOptions
from tasks.projects.index_steps import write_image_index
from tasks.projects.ingest.commit_steps import (
    bring_up_to_date,
    commit_ingest,
    discard_abandoned_ingests,
    finish_broken_commit,
    generated_images_to_remove,
    remove_generated_images,
)
from tasks.projects.ingest.plan_steps import make_plan, plan_ingest
from tasks.projects.ingest.report import IngestReport
from tasks.projects.ingest.report_steps import publish_ingest_report
from tasks.projects.ingest.staging_steps import require_whole_upload, stage_chunk
from tasks.projects.ingest.target_steps import (
    IngestTarget,
    find_target,
    find_targets_of_all_projects,
    target_as_it_is_now,
)
from tasks.reports.keys import artifact_key
from tasks.running.decorators import flow
from tasks.running.progress import Shown


class IngestMode(StrEnum):
    """What happens to the files of a source."""

    COPY = "copy"
    """They are copied, read whole, and kept under the home of visionflows."""
    LINK = "link"
    """They stay where they are: the folder itself becomes the project's."""


def job_parameters(target: IngestTarget, *, remove_generated: bool = False) -> dict[str, Any]:
    """What is kept with a job of this flow."""
    return {
        "project": target.name,
        "source": None if target.source is None else str(target.source),
        "generate": list(target.generate.wanted_keys()),
        "remove_generated": remove_generated,
    }


def _run_name(values: Mapping[str, Any]) -> str:
    source, project = values["source"], values["project"]
    if source is None:
        return "ingest all projects" if project is None else f"ingest {name_of_project(project)}"
    into = "" if project is None else f" into {name_of_project(project)}"
    return f"ingest {Path(source).name}{into}"


@flow(name="ingest-project", run_name=_run_name)
def ingest_project(
    source: str | None = None,
    project: str | None = None,
    mode: IngestMode = IngestMode.COPY,
    generate: GenerationOptions = GenerationOptions(),  # noqa: B008 - frozen
    remove_generated: bool = False,
    accept_losses: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
) -> State[Any]:
    """Bring images and labels of a folder or ZIP into a project, or projects up to date.

    Without a source the folder of the project is looked at again; without a project as well, all
    projects are, and folders that somebody has put among the project folders become projects.
    Nothing becomes part of a project before all of it is staged and read whole. What is there
    already is recognised by size and time of change, so doing it again costs a look at the folder.

    Args:
        source: Folder or ZIP file, or the URL of one in a bucket. Left out, projects are
            compared with their own folders.
        project: Name or id of the project. Left out, it is named after the source.
        mode: Copy the files, or link the folder where it is.
        generate: Augmented copies, tiles and smaller copies to make of every image.
        remove_generated: Remove all images that were generated earlier.
        accept_losses: Go on although more than a tenth of the known images is gone.
        overwrite: Take images of the source also in the place of those that were edited in the
            project since they were ingested; left out, these stay and are said.
        dry_run: Only say what would be done.

    Returns:
        A state that carries one report for each project.
    """
    database = open_database()
    targets, folder = _targets(database, source, project, mode, generate), source is None
    targets = [replace(target, overwrite=overwrite) for target in targets]
    if dry_run:
        return _previewed(database, targets, remove_generated)
    if folder and project is None:
        discard_abandoned_ingests(database)
    reports: list[dict[str, Any]] = []
    for target in targets:
        try:
            reports.append(_ingest(database, target, remove_generated, accept_losses))
        except JobCancelledError as error:
            return Cancelled(message=f"{target.name}: {error}")
        except Exception as error:
            if len(targets) == 1:
                raise
            # One project that cannot be looked at does not keep the others from it.
            is_ours = isinstance(error, VisionflowsError | OSError)
            get_run_logger().error("%s: %s", target.name, error, exc_info=not is_ours)
            reports.append({"project": target.name, "error": str(error)})
    failed = [report for report in reports if "error" in report]
    if failed:
        reasons = "; ".join(f"{report['project']}: {report['error']}" for report in failed[:5])
        return Failed(
            message=f"{len(failed)} of {len(reports)} projects failed: {reasons}", data=reports
        )
    return Completed(message=_summary(reports), data=reports)


def _targets(
    database: Database,
    source: str | None,
    project: str | None,
    mode: IngestMode,
    generate: GenerationOptions,
) -> list[IngestTarget]:
    if source is None and project is None:
        if generate.wanted_keys():
            raise InvalidInputError("Name the project from whose images others are generated.")
        return find_targets_of_all_projects(database)
    path = None
    if source is not None:
        path = place_of(source)
        # What was uploaded lies where the web application has put it.
        if upload_of_source(path) is None:
            for_deployment = runtime.deployment.id is not None
            path = check_within_data_roots(path, for_deployment=for_deployment, may_be_url=True)
    copies = mode is IngestMode.COPY
    return [find_target(database, path, project, copies=copies, generate=generate)]


def _previewed(
    database: Database, targets: list[IngestTarget], remove_generated: bool
) -> State[Any]:
    previews: list[dict[str, Any]] = []
    for target in targets:
        try:
            plan = make_plan(database, target)
        except (VisionflowsError, OSError) as error:
            if len(targets) == 1:
                raise
            previews.append({"project": target.name, "error": str(error)})
            continue
        new = sum(file.is_image and not file.is_known for file in plan.files)
        removed = generated_images_to_remove(database, target) if remove_generated else ()
        previews.append(
            {
                "project": target.name,
                "path": str(target.path),
                "is_new": target.is_new,
                "new_or_changed_images": new + plan.found,
                "gone_images": plan.gone,
                "new_or_changed_label_files": sum(not file.is_image for file in plan.files),
                "reads_labels_again": plan.reads_labels_again,
                "images_to_generate_from": sum(bool(file.wanted) for file in plan.files),
                "generated_images_to_remove": len(removed),
                "unchanged_images": plan.unchanged,
                "problems": plan.problems,
            }
        )
    return Completed(message="nothing was changed (dry run)", data=previews)


def _ingest(
    database: Database, target: IngestTarget, remove_generated: bool, accept_losses: bool
) -> dict[str, Any]:
    """Ingest into one project, as a job of its own."""

    def work(job: FlowJob) -> Outcome:
        report = _stage_and_commit(job, target, remove_generated, accept_losses)
        next_step = None
        if report.has_changed_images:
            found = find_project(database, str(report.project_id))
            next_step = emit_project_ingested(found)
        told = {"job_id": str(job.id), "already_running": False, "next_step": next_step}
        result = {**report.as_json(), **told}
        page = publish_ingest_report(result)
        return Outcome({**result, "page": page}, with_errors=bool(report.problems))

    run = do_job(
        JobKind.INGEST_PROJECT,
        str(target.project_id),
        work,
        parameters=job_parameters(target, remove_generated=remove_generated),
        shown=Shown(
            artifact_key("ingest-progress", target.name, str(target.project_id)),
            f"Staging {target.name}",
            done="staged",
        ),
    )
    if run.is_already_running:
        return {"project": target.name, "job_id": str(run.job_id), "already_running": True}
    if run.outcome is None:
        raise JobCancelledError("nothing of what was at work became part of the project")
    if run.status is JobStatus.CANCELLED:
        raise JobCancelledError("too late: everything is part of the project already")
    upload_id = None if target.source is None else upload_of_source(target.source)
    if upload_id is not None:
        end_upload(database, upload_id)
    return run.outcome.result


def _stage_and_commit(
    job: FlowJob, target: IngestTarget, remove_generated: bool, accept_losses: bool
) -> IngestReport:
    """Plan, stage in mapped chunks, commit, and write the image index."""
    database = open_database()
    report = finish_broken_commit(target.project_id)
    target = target_as_it_is_now(database, target)
    if not target.is_new:
        report = bring_up_to_date(job.reference, target, accept_losses=accept_losses).after(report)
    plan = plan_ingest(job.reference, target)
    staged = job.map(stage_chunk, plan.chunks, target=target) if plan.chunks else []
    job.raise_if_stopped()
    if target.source is not None and upload_of_source(target.source) is not None:
        require_whole_upload(target)
    if plan.has_files:
        report = commit_ingest(job.reference, target).after(report)
    elif report is None:
        report = bring_up_to_date(job.reference, target, accept_losses=accept_losses)
    removed = remove_generated_images(target) if remove_generated else 0
    found = find_project(database, str(target.project_id))
    unchanged = plan.unchanged
    if target.source is None:
        # By now the rows are as the folder is: all that was not touched in this run.
        touched = (report.added, report.changed, report.moved, report.returned)
        unchanged = max(0, found.image_count - sum(touched))
    problems = (*plan.problems, *(problem for chunk in staged for problem in chunk.problems))
    return replace(
        report,
        image_count=found.image_count,
        labeled_count=found.labeled_count,
        unchanged=unchanged,
        removed=report.removed + removed,
        problems=tuple(dict.fromkeys((*problems, *report.problems))),
        snapshot=write_image_index(found, job.reference),
    )


def _summary(reports: list[dict[str, Any]]) -> str:
    if len(reports) == 1 and reports[0]["already_running"]:
        return f"already running: job {reports[0]['job_id']}"
    if len(reports) == 1:
        one = reports[0]
        return (
            f"{one['image_count']} images in {one['project']}: {one['added']} new, "
            f"{one['changed']} changed, {one['missing']} gone missing"
        )
    changed = sum(
        any(one.get(what) for what in ("added", "changed", "moved", "returned", "missing"))
        for one in reports
    )
    return f"{len(reports)} projects looked at, {changed} of them changed"
