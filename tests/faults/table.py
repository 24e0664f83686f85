"""Writes what trials and inputs came to into docs/reliability.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from tests.faults.fuzzing import Finding
from tests.faults.laboratory import FLOWS
from tests.faults.trials import ALL, Outcome
from tests.places import ROOT

PAGE = ROOT / "docs" / "reliability.md"


def trial_rows(outcomes: Sequence[Outcome]) -> list[str]:
    """A table of right trials among all, by what was disturbed and by flow."""
    tried: Counter[tuple[str, str]] = Counter()
    wrong: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        tried[outcome.victim, outcome.flow] += 1
        wrong[outcome.victim, outcome.flow] += bool(outcome.wrong)
    rows = [f"| disturbed by | {' | '.join(FLOWS)} |", "|---" * (len(FLOWS) + 1) + "|"]
    for victim in ALL:
        cells = [
            f"{count - wrong[victim, flow]} of {count}" if (count := tried[victim, flow]) else "-"
            for flow in FLOWS
        ]
        if any(cell != "-" for cell in cells):
            rows.append(f"| {victim} | {' | '.join(cells)} |")
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
