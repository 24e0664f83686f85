"""Writes what trials and inputs came to into docs/reliability.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.faults.concurrency import Together
from tests.faults.fuzzing import Finding
from tests.faults.laboratory import FLOWS
from tests.faults.trials import ALL, ALL_CANCELS, Outcome
from tests.places import ROOT

PAGE = ROOT / "docs" / "reliability.md"


def trial_rows(outcomes: Sequence[Outcome]) -> list[str]:
    """A table of right trials among all, by what was disturbed and by flow.

    Of cancellations those that came after the work are told, too.
    """
    late = Counter(
        (one.victim, one.flow)
        for one in outcomes
        if one.victim in ALL_CANCELS and one.status == "completed"
    )
    tried: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        tried[outcome.victim, outcome.flow] += 1
        wrong[outcome.victim, outcome.flow] += bool(outcome.wrong)
    rows = [f"| disturbed by | {' | '.join(FLOWS)} |", "|---" * (len(FLOWS) + 1) + "|"]
    for victim in ALL:
        cells = [
            f"{count - wrong[victim, flow]} of {count}"
            + (f", {late[victim, flow]} done before" if late[victim, flow] else "")
            if (count := tried[victim, flow])
            else "-"
            for flow in FLOWS
        ]
        if any(cell != "-" for cell in cells):
            rows.append(f"| {victim} | {' | '.join(cells)} |")
    took = sorted(one.took for one in outcomes if one.status == "cancelled")
    if took:
        middle, most = took[len(took) // 2], took[-1]
        rows += ["", f"From a cancellation to the end of the job: {middle:.2f} s for half of "
                     f"{len(took)}, {most:.2f} s at most."]  # fmt: skip
    return rows


def together_rows(tried: Sequence[Together]) -> list[str]:
    """A table of what was done at the same time, and how often all was looked at meanwhile."""
    rows = ["| at the same time | looked at | broken rules |", "|---|---|---|"]
    for one in tried:
        rows.append(f"| {one.what} | {one.looks:,} times | {len(one.broken)} |")
    return rows


def input_rows(results: dict[str, tuple[int, list[Finding]]]) -> list[str]:
    """A table of damaged inputs and of what was found in them, by kind."""
    rows = ["| inputs | read or refused | findings |", "|---|---|---|"]
    for kind, (count, findings) in results.items():
        rows.append(f"| {kind} | {count - len(findings):,} of {count:,} | {len(findings)} |")
    return rows


def write_table(name: str, seed: int, rows: list[str]) -> None:
    """Put a table in the place of the last one of its name."""
    page = PAGE.read_text(encoding="utf-8")
    day = datetime.now(UTC).date().isoformat()
    block = "\n".join([f"<!-- {name} -->", f"Seed {seed}, {day}:", "", *rows, "<!-- end -->"])
    found = re.compile(rf"<!-- {name} -->.*?<!-- end -->", re.DOTALL)
    PAGE.write_text(found.sub(lambda _: block, page), encoding="utf-8")
