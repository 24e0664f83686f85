"""A log of problems keeps the first of each kind and counts all of them."""

from __future__ import annotations

from pathlib import PurePosixPath

from tasks.reports.problem_log import Problem, ProblemLog, count_by_code


def noted():
    log = ProblemLog(2, "labels/a.txt")
    log.add("short", "two values", 1)
    log.add("bom", "a byte order mark", place=PurePosixPath("data.yaml"))
    log.add("short", "one value", 2, count=3)
    log.add("short", "no value", 3, count=5)
    return log


def test_the_first_of_each_kind_keep_their_places_and_the_rest_is_counted():
    log = noted()
    assert (log.room("short"), log.room("bom"), log.room("new")) == (0, 1, 2)
    log.count("short", 4)
    log.count("unseen", 0)
    assert log.entries() == (
        Problem("short", "labels/a.txt", "two values", 1),
        Problem("bom", "data.yaml", "a byte order mark"),
        Problem("short", "labels/a.txt", "one value", 2, 3),
        Problem("short", "labels/a.txt", "9 more of this kind", None, 9),
    )
    assert [problem.code for problem in log.entries_by_code()] == ["bom", *["short"] * 3]
    assert log.totals == count_by_code(log.entries()) == {"bom": 1, "short": 13}
    assert "bom" in log and "unseen" not in log


def test_kinds_that_are_only_counted_are_told_as_well():
    log = ProblemLog(1)
    log.count("leak", 7)
    assert log.entries() == (Problem("leak", "", "7 more of this kind", None, 7),)
    assert "leak" in log


def test_a_log_takes_over_another_and_loses_no_place_and_no_count():
    log, other = ProblemLog(3), noted()
    log.add("short", "own")
    log.extend(other)
    assert log.totals == {"bom": 1, "short": 1 + 1 + 3 + 5}
    assert [problem.place for problem in log.entries()] == [
        *("", "labels/a.txt", "data.yaml", "labels/a.txt", "")
    ]
    log.extend(other)
    assert log.totals == {"bom": 2, "short": 19}
    assert log.room("short") == 0
