"""Lists that are cut say how many more there are and how to see them."""

from __future__ import annotations

import pytest

from deployments.cli.output.tables import print_report
from deployments.cli.output.terminal import print_problems, rows_to_load, show_all_rows
from tasks.quality.report import quality_report
from tests.tasks.quality.test_report import EMPTY


@pytest.fixture(autouse=True)
def _cut_again():
    yield
    show_all_rows(False)


def groups(shown: str) -> int:
    return sum("twin" in line for line in shown.splitlines())


def test_ten_of_fourteen_groups_are_shown_with_a_word_on_the_others(capsys):
    members = {number: [f"twin-{number}-a.jpg", f"twin-{number}-b.jpg"] for number in range(1, 15)}
    sizes = dict.fromkeys(members, 2) | {3: 52}
    overview = EMPTY | {
        "duplicate_groups": members,
        "duplicate_group_sizes": sizes,
        "duplicate_group_count": 14,
    }
    report = quality_report("gulls", overview, (0, 0), "x.parquet")
    print_report(report)
    shown = capsys.readouterr().out
    assert groups(shown) == 10 and "... and 4 more; --all-rows shows them." in shown
    assert "twin-3-a.jpg  twin-3-b.jpg  ... and 50 more" in shown
    assert rows_to_load() == 50

    show_all_rows(True)
    print_report(report)
    shown = capsys.readouterr().out
    assert groups(shown) == 14 and "--all-rows" not in shown
    assert rows_to_load() > 10**6


def test_so_are_problems(capsys):
    problems = [f"problem {number}" for number in range(12)]
    print_problems(problems)
    told = capsys.readouterr().err.splitlines()
    assert told[:10] == problems[:10] and told[10:] == ["... and 2 more; --all-rows shows them."]
    show_all_rows(True)
    print_problems(problems)
    assert capsys.readouterr().err.splitlines() == problems
