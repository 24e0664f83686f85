"""`visionflows run quality-metrics`: what it prints, for people and for programs."""

from __future__ import annotations

import pytest

from storage.database.tables.jobs import JobKind
from storage.jobs.held import start_job
from storage.jobs.records import list_jobs
from storage.projects.projects import find_project
from tests.end_to_end.conftest import Command

NAME = "[red]gulls[/red] [/x]"


@pytest.fixture
def command(prefect_client, database, tmp_path, invoke, photographs):
    (photographs / "1.png").rename(photographs / "[bold]1[red].png")
    invoke("projects", "add", NAME, str(photographs))
    return Command(tmp_path)


def test_people_get_tables_in_which_names_are_not_markup(command, database):
    shown = command.run("run", "quality-metrics", "--project", NAME)
    assert f"4 measured and 1 failed in this run; {NAME} has 5 images, 4 measured, 1" in shown
    for title in ("Distribution", "Issues", "Lowest overall quality", "Near-duplicates: 1 groups"):
        assert title in shown
    assert "[bold]1[red].png  copy of 1.png" in shown, "the two are one group"
    assert "broken.jpg" in shown and "Not measured" in shown
    snapshot = list_jobs(database)[0].result["snapshot"]
    assert f"snapshot  {snapshot}\n" in shown, "a path is never cut into lines"

    again = command.run("run", "quality-metrics", "--project", NAME)
    assert "0 measured and 0 failed in this run" in again
    assert "0/?" not in again


def test_programs_get_one_json_document_and_the_options_reach_the_flow(command, database):
    options = ("--batch-size", "2", "--force", "--blur-rule", "sharpness")
    options += ("--focus", "2.5", "--sharpness-reference", "900")
    told = command.run_json("run", "quality-metrics", "--project", NAME, *options)
    assert set(told) == {"job", "project", "quality"}
    assert told["project"] == NAME
    job = told["job"]
    assert (job["status"], job["total"], job["processed"], job["failed"]) == ("completed", 5, 4, 1)
    assert set(told["quality"]) == {
        *("images", "completed", "failed", "mean_overall_quality", "issues", "histograms"),
        *("worst", "duplicate_groups", "duplicate_group_count", "duplicate_group_sizes"),
        *("failures", "kept_count", "kept", "missing", "labeled"),
    }
    parameters = list_jobs(database)[0].parameters
    assert parameters["batch_size"] == 2 and parameters["force"] is True
    assert (parameters["blur_rule"], parameters["focus"]) == ("sharpness", 2.5)
    assert parameters["sharpness_reference"] == 900


def test_a_second_start_reports_the_job_at_work(command, database):
    project = find_project(database, NAME)
    with start_job(database, JobKind.QUALITY_METRICS, str(project.id)) as held:
        shown = command.run("run", "quality-metrics", "--project", NAME)
    assert f"Measuring {NAME}: at work already (job {held.id})" in shown


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_threshold_that_is_no_number_is_refused(command, value):
    shown = command.run("run", "quality-metrics", "--project", NAME, "--focus", value, status=2)
    assert "--focus" in shown and "Traceback" not in shown
