"""Which sessions a run reads, marks, and knows again."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from tasks.reports.problem_log import Problem
from tasks.sessions.folders.plan import (
    NEVER_SEEN,
    EarlierSession,
    closed_sessions,
    estimate_seconds,
    plan_sessions,
)
from tasks.sessions.problems import SessionProblemCode
from tasks.sessions.statistics import SessionFingerprint, SessionFolder

ROOT = "/sessions"


def look(number=1):
    return SessionFingerprint(number, number, number)


def found(path, fingerprint=None):
    return SessionFolder(path, Path(ROOT) / path, fingerprint or look())


ONE = look()


def known(path, fingerprint=ONE, **changed):
    values = {
        "folder_id": uuid4(),
        "root": ROOT,
        "relative_path": path,
        "is_missing": False,
        "fingerprint": fingerprint,
        "stats_version": 1,
        "look_again": False,
    }
    return EarlierSession(**{**values, **changed})


def plan(folders, earlier, **options):
    return plan_sessions(ROOT, folders, earlier, stats_version=1, **options)


def test_unchanged_sessions_are_left_alone():
    made = plan([found("a"), found("b")], [known("a"), known("b")])
    assert (made.new, made.moved, made.returned, made.gone, made.to_compute) == ([], {}, [], [], [])
    assert not made.loses_too_many


def test_a_session_is_read_when_its_look_its_version_or_a_doubt_says_so():
    earlier = [
        known("changed", look(2)),
        known("other version", stats_version=2),
        known("never computed", stats_version=None, fingerprint=None),
        known("written to", look_again=True),
        known("same"),
    ]
    folders = [found(session.relative_path) for session in earlier]
    assert plan(folders, earlier).to_compute == [
        *("changed", "other version", "never computed", "written to"),
    ]
    assert len(plan(folders, earlier, force=True).to_compute) == 5


def test_new_returned_and_gone():
    back, away = known("back", is_missing=True), known("away")
    still_away = known("still away", look(8), is_missing=True)
    made = plan([found("back"), found("new", look(3))], [back, away, still_away])
    assert made.new == ["new"] and made.to_compute == ["new"]
    assert made.returned == [back.folder_id]
    assert made.gone == [away.folder_id]
    assert made.known_before == 1 and made.loses_too_many


def test_where_only_some_were_asked_for_none_is_gone():
    assert plan([found("a")], [known("a"), known("b")], whole=False).gone == []


def test_what_could_not_be_looked_at_is_not_gone():
    earlier = [known("closed"), known("closed group/inside"), known("closed group 2")]
    made = plan([], earlier, could_not_look_at={"closed", "closed group"})
    assert made.gone == [earlier[2].folder_id]


def test_one_that_looks_the_same_elsewhere_has_moved():
    here, there = known("old name", look(5)), known("s", look(6), root="/other")
    made = plan([found("new name", look(5)), found("s", look(6))], [here, there], is_there=bool)
    assert made.new == ["s"] and made.moved == {here.folder_id: "new name"}
    made = plan([found("s", look(6))], [there], is_there=lambda session: False)
    assert made.moved == {there.folder_id: "s"}
    assert (made.new, made.to_compute, made.gone) == ([], [], [])
    made = plan([found("s", look(6))], [there], is_there=lambda session: False, force=True)
    assert made.to_compute == ["s"] and made.new == []


def test_of_several_that_look_the_same_the_name_decides():
    twins = [known("one"), known("two"), known("three")]
    made = plan([found("kept/two"), found("kept/one"), found("kept/four")], twins)
    assert made.moved == {
        twins[0].folder_id: "kept/one",
        twins[1].folder_id: "kept/two",
    }
    assert made.new == ["kept/four"] and made.gone == [twins[2].folder_id]


def test_one_that_was_being_written_is_not_taken_for_another():
    assert plan([found("b")], [known("a", look_again=True)]).moved == {}
    assert plan([found("b")], [known("a", fingerprint=None, stats_version=None)]).new == ["b"]


paths = st.lists(st.sampled_from([f"{a}{b}" for a in ("", "g/") for b in "abcdef"]), unique=True)


@given(now=paths, before=paths, looks=st.lists(st.integers(1, 3), min_size=24, max_size=24))
def test_every_session_has_exactly_one_fate(now, before, looks):
    folders = [found(path, look(looks[number])) for number, path in enumerate(now)]
    earlier = [known(path, look(looks[12 + number])) for number, path in enumerate(before)]
    made = plan(folders, earlier)
    assert set(made.new) | set(made.moved.values()) | (set(now) & set(before)) == set(now)
    assert len(made.new) + len(made.moved) + len(set(now) & set(before)) == len(now)
    gone = set(made.gone) | made.moved.keys()
    assert gone == {s.folder_id for s in earlier if s.relative_path not in now}
    assert len(made.gone) + len(made.moved) == len(gone)
    assert set(made.new) <= set(made.to_compute) <= set(now)


def test_closed_folders_count_as_sessions_where_their_name_or_the_past_says_so():
    def problem(place, code=SessionProblemCode.FOLDER_UNREADABLE):
        return Problem(code, place, "Permission denied")

    problems = [
        problem("known"),
        problem("group/20250101_000000-named"),
        problem("whatever"),
        problem("20250101_000000-link", SessionProblemCode.FOLDER_IS_LINK),
    ]
    closed = closed_sessions(Path(ROOT), problems, {"known"})
    assert [folder.session_id for folder in closed] == ["known", "group/20250101_000000-named"]
    assert {folder.fingerprint for folder in closed} == {NEVER_SEEN}


def test_large_sessions_are_estimated_to_take_longer(tmp_path):
    small = SessionFolder("s", tmp_path, SessionFingerprint(1, 1, 1000))
    large = SessionFolder("s", tmp_path, SessionFingerprint(1, 1, 60_000_000))
    gone = SessionFolder("s", tmp_path / "gone", SessionFingerprint(1, None, None))
    assert 0 < estimate_seconds(gone) < estimate_seconds(small) < 0.5 < estimate_seconds(large)
