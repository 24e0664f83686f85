"""`visionflows compute-stats` and `visionflows sessions`: what they print and change."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from storage.database.tables.jobs import JobKind
from storage.jobs.held import start_job
from storage.jobs.records import list_jobs
from storage.sessions.queries import find_session
from storage.settings import get_settings
from tests.places import ROOT
from tests.session_folders import make_documented_sessions, make_session
from tests.storage.session_rows import add_sessions, stats

NAME = "20251014_173320-[red]cats[/red]"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "my sessions"
    make_documented_sessions(folder)
    make_session(folder, NAME, b"{", 2)
    return folder


def test_people_get_tables_and_a_second_run_reads_nothing(invoke, prefect_client, root, database):
    shown = invoke("compute-stats", "--all", "--root", str(root)).output
    assert "4 computed and 0 failed in this run, 0 unchanged; 4 sessions with" in shown
    assert "with 88 images, 296 expected; 2 incomplete, 0 ongoing, 2 seed sweeps." in shown
    for title in ("Incomplete sessions", "Models", "Problems"):
        assert title in shown
    assert "██▌░░░░░░░ 25.00 % 60 of 240 aborted seed list" in " ".join(shown.split())
    result = list_jobs(database)[0].result
    for place in ("snapshot", "page"):
        assert f"  {place:<9} {result[place]}\n" in shown
    assert "<title>Sessions in " in Path(result["page"]).read_text(encoding="utf-8")

    (root / "elsewhere").symlink_to(root.parent)
    Path(os.fsdecode(bytes(root) + b"/caf\xe9")).mkdir()
    again = invoke("compute-stats", "--all", "--root", str(root)).output
    assert "0 computed and 0 failed in this run, 4 unchanged" in again
    assert "Left out" in again
    left_out = {line.split()[0] for line in again.partition("Left out")[2].splitlines()[2:4]}
    assert "elsewhere" in left_out and any("caf" in name for name in left_out)
    assert list_jobs(database)[0].result["left_out"] == 2


def test_programs_get_one_json_document_and_the_options_reach_the_flow(
    invoke, prefect_client, root, database, monkeypatch
):
    monkeypatch.setenv("VISIONFLOWS_SESSIONS_ROOT", str(root))
    get_settings.cache_clear()
    told = invoke(
        "compute-stats", "seed list", "--batch-size", "7", "--manifest-only", "--json"
    ).json()
    assert set(told) == {"job", "sessions_root", "sessions"}
    assert told["sessions_root"] == str(root)
    assert (told["job"]["total"], told["sessions"]["sessions"]) == (1, 1)
    assert list_jobs(database)[0].parameters == {
        "session_ids": ["seed list"],
        "force_refresh": False,
        "stats_without_manifest": False,
        "accept_losses": False,
        "batch_size": 7,
    }
    told = invoke("run", "compute-session-stats", "--force-refresh", "--json").json()
    assert told["job"]["processed"] == 4
    assert told["sessions"]["incomplete_sessions"][0]["session_id"] == "seed list"

    with start_job(database, JobKind.SESSION_STATS, str(root)) as held:
        shown = invoke("compute-stats", "--all").output
    assert f"Sessions in {root}: at work already (job {held.id})" in shown
    missing = invoke("compute-stats", "nobody")
    assert missing.status == 1 and missing.output.strip() == ""
    assert missing.errors.splitlines()[-1].startswith(f"Error: {root / 'nobody'} is not a folder")


@pytest.mark.parametrize(
    ("arguments", "status", "named"),
    [
        (("compute-stats",), 2, "--all"),
        (("compute-stats", "--all", "a session"), 2, "--all"),
        (("compute-stats", "--all"), 1, "VISIONFLOWS_SESSIONS_ROOT"),
        (("compute-stats", "--all", "--root", "/no/such/folder"), 1, "/no/such/folder"),
        (("sessions", "list", "--since", "yesterday"), 2, "--since"),
        (("sessions", "show", "nobody"), 1, "nobody"),
        (("sessions", "rate", "nobody", "3"), 1, "nobody"),
        (("sessions", "rate", "s", "6"), 2, "RATING"),
        (("sessions", "tag", "s"), 2, "--remove"),
        (("sessions", "tag", "s", " "), 2, "empty"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(invoke, monkeypatch, arguments, status, named):
    monkeypatch.setenv("COLUMNS", "200")
    refused = invoke(*arguments)
    assert refused.status == status
    assert named in refused.errors
    assert status == 2 or refused.is_one_sentence()


@pytest.fixture
def stored(database):
    local = datetime(2025, 10, 14, 17, 33, 20).astimezone()
    add_sessions(
        database,
        {
            NAME: stats(5, session_created_at=local, sd_model="dream.safetensors"),
            "later": stats(10, is_seed_sweep=True, session_created_at=local.replace(day=20)),
            "undated": stats(
                0, session_created_at=None, images_expected=0, sd_model=None, is_seed_sweep=False
            ),
        }.items(),
    )
    return database


def test_sessions_are_listed_and_filtered(invoke, stored):
    shown = invoke("sessions", "list").output
    lines = shown.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["2025-10-20", "2025-10-14", "–"]
    assert NAME in shown and "50.00 %" in shown and "5 of 10" in shown

    def listed(*options):
        return [row["session_id"] for row in invoke("sessions", "list", *options, "--json").json()]

    assert listed() == ["later", NAME, "undated"]
    assert listed("--incomplete") == [NAME]
    assert listed("--sweeps") == ["later"]
    assert listed("--since", "2025-10-15") == ["later"]
    assert listed("--since", "2025-10-14 17:33:20") == ["later", NAME]
    assert listed("--model", "dream") == [NAME]
    assert listed("--limit", "1") == ["later"]
    assert listed("--limit", "0") == ["later", NAME, "undated"]
    assert listed("--root", "/elsewhere") == []
    assert "--limit 0 shows all" in invoke("sessions", "list", "--limit", "2").output


def test_tables_show_the_newest_and_json_has_all(invoke, database):
    add_sessions(database, ((f"s{number:02}", stats(number)) for number in range(51)))
    shown = invoke("sessions", "list").output
    assert "s50" in shown and "s00" not in shown
    assert "The newest 50 are shown" in shown
    assert len(invoke("sessions", "list", "--json").json()) == 51
    assert len(invoke("sessions", "list", "--json", "--limit", "50").json()) == 50


def test_nothing_found_says_why(invoke, database, stored):
    assert "Did you mean dream?" in invoke("sessions", "list", "--model", "DRE").output
    assert "No session is like that." in invoke("sessions", "list", "--ongoing").output


def test_without_any_session_the_way_to_the_first_is_shown(invoke):
    for arguments in (("list",), ("models",)):
        assert "visionflows compute-stats --all" in invoke("sessions", *arguments).output


def test_a_session_and_the_models_are_shown(invoke, stored):
    shown = invoke("sessions", "show", NAME).output
    assert NAME in shown and "█████░░░░░ 50.00 %" in shown and "Mood: glad, sad" in shown
    told = invoke("sessions", "show", NAME, "--json").json()
    assert told["placeholders_json"] == {"Mood": 2} and told["images_expected"] == 10
    (row,) = csv.DictReader(io.StringIO(invoke("sessions", "show", NAME, "--csv").output))
    assert list(row) == list(told)
    assert (row["placeholders_json"], row["images_expected"]) == ('{"Mood": 2}', "10")
    models = invoke("sessions", "models", "--json").json()
    assert [(m["sd_model"], m["sessions"]) for m in models] == [
        ("dream", 1),
        ("model_10", 1),
        (None, 1),
    ]
    assert "dream" in invoke("sessions", "models").output


def test_people_say_something_of_a_session(invoke, stored):
    assert invoke("sessions", "tag", NAME, "keep", "[b]print[/b]").status == 0
    assert invoke("sessions", "tag", NAME, "--remove", "keep").status == 0
    assert invoke("sessions", "rate", NAME, "4").status == 0
    assert invoke("sessions", "note", NAME, "for the wall").status == 0
    session = find_session(stored, NAME)
    assert (session["tags"], session["rating"]) == (["[b]print[/b]"], 4)
    assert session["note"] == "for the wall"
    shown = invoke("sessions", "list", "--tag", "[b]print[/b]").output
    assert "[b]print[/b]  ★★★★" in shown and "later" not in shown
    invoke("sessions", "rate", NAME, "0")
    assert find_session(stored, NAME)["rating"] is None


def test_the_sample_sessions_show_what_the_documentation_says(tmp_path, invoke, prefect_client):
    script = ROOT / "samples" / "make_sessions.py"
    samples = tmp_path / "samples"
    for _ in range(2):
        subprocess.run([sys.executable, str(script), str(samples)], check=True)
        told = invoke("compute-stats", "--all", "--root", str(samples), "--json").json()
    assert told["job"]["total"] == 0, "the same files with the same times"
    found = told["sessions"]
    assert (found["sessions"], found["images"], found["expected"]) == (7, 52, 67)
    assert (found["incomplete"], found["sweeps"], found["ongoing"]) == (3, 2, 0)
    assert found["sources"] == {"manifest": 6, "image_metadata": 1}
    assert [model["sd_model"] for model in found["models"]] == [
        "dreamshaper_8",
        "realisticVisionV60",
    ]


def test_a_folder_without_sessions_is_no_error(invoke, prefect_client, tmp_path):
    (tmp_path / "empty").mkdir()
    shown = invoke("compute-stats", "--all", "--root", str(tmp_path / "empty")).output
    assert "There is no session in" in shown


def test_what_nobody_knows_is_a_dash_wherever_it_is_shown(invoke, stored):
    shown = invoke("sessions", "show", "undated").output
    assert [line.split()[1] for line in shown.splitlines() if "completion_percentage" in line] == [
        "–"
    ]
    assert " 0.00 %" not in shown + invoke("sessions", "list").output
    assert "50.00 %" in invoke("sessions", "show", NAME).output
