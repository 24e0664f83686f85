"""Disturbs every flow at seeded instants, and gives damaged inputs to every reader.

    python -m tests.faults --seed 1 --kills 50 --cancels 200 --inputs 1000000 --minutes 55

A line tells of each trial; the tables at the end go into docs/reliability.md with `--write`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice

from tests.faults.concurrency import try_together
from tests.faults.fuzzing import fuzz_all
from tests.faults.laboratory import FLOWS, Laboratory
from tests.faults.table import input_rows, together_rows, trial_rows, write_table
from tests.faults.trials import CANCELS, KILLS, OF_THE_STACK, Outcome, try_once

# Of fifty trials, where they are shared out; what takes half a minute to begin again has fewer.
_OF_FIFTY = {
    "flow": 13,
    "server": 8,
    "backend": 11,
    "postgresql": 9,
    "web": 4,
    "worker": 3,
    "stack's server": 1,
    "stack's web": 1,
}
_SIZE = 4

Trial = tuple[str, str, float]


def plan_trials(seed: int, flows: list[str], victims: dict[str, int]) -> list[Trial]:
    """Flow, victim and part of the work of each trial, in a random order.

    The instants of a flow and victim lie in equal parts of the work, one anywhere in each.
    """
    chance = random.Random(seed)
    trials = [
        (flow, victim, (number + chance.random()) / count)
        for flow in flows
        for victim, count in victims.items()
        for number in range(count)
    ]
    chance.shuffle(trials)
    return trials


def run_trials(
    name: str, trials: list[Trial], seconds: float, *, stack: bool, again: Callable[[int], bool]
) -> list[Outcome]:
    """Do the trials that there is time for; a line each. `again` says which are run once more."""
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + seconds
    if not trials:
        return outcomes
    laboratory = Laboratory(with_stack=stack, size=_SIZE)
    try:
        for number, (flow, victim, part) in enumerate(trials):
            if time.monotonic() > deadline:
                break
            chance = random.Random(f"{flow} {victim} {part}")
            outcome = try_once(laboratory, flow, victim, chance, part=part, again=again(number))
            outcomes.append(outcome)
            words = f"WRONG: {outcome.wrong}" if outcome.wrong else "right"
            at = f"{name} {number:4} {flow:22} {victim:18} at {part:6.1%}"
            print(f"{at}: {outcome.was}, {outcome.took:.2f} s; {words}", flush=True)
    finally:
        laboratory.close()
    return outcomes


def run_kills(
    seed: int, count: int, seconds: float, flows: list[str], only: list[str]
) -> list[Outcome]:
    """Kill each part of what runs, so many times per flow."""
    shares = {
        name: max(1, round(share * count / 50)) if count else 0
        for name, share in _OF_FIFTY.items()
        if not only or name in only
    }
    outcomes: list[Outcome] = []
    for of_stack, known in ((False, KILLS), (True, OF_THE_STACK)):
        victims = {name: share for name, share in shares.items() if name in known}
        trials = plan_trials(seed, flows, victims)
        part = seconds * (0.35 if of_stack else 0.65)
        outcomes += run_trials("kill", trials, part, stack=of_stack, again=lambda _: True)
    return outcomes


def run_cancels(
    seed: int, count: int, seconds: float, flows: list[str], only: list[str]
) -> list[Outcome]:
    """Cancel from each side in turn, so many times per flow; every tenth is run again after it."""
    names = list(islice(cycle(name for name in CANCELS if not only or name in only), count))
    victims = {name: names.count(name) for name in names}
    trials = plan_trials(seed, flows, victims)
    return run_trials("cancel", trials, seconds, stack=False, again=lambda number: number % 10 == 0)


def main() -> None:
    """Read the options, run the parts beside each other, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=50, help="for each flow")
    parser.add_argument("--cancels", type=int, default=200, help="for each flow")
    parser.add_argument("--together", type=int, default=20, help="starts at the same time")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all kinds")
    parser.add_argument("--minutes", type=float, default=55, help="for all of it at most")
    parser.add_argument("--flow", action="append", choices=list(FLOWS))
    parser.add_argument("--victim", action="append", help="the part of it that is disturbed")
    parser.add_argument("--write", action="store_true", help="tables go into docs/reliability.md")
    options = parser.parse_args()
    flows, only = options.flow or list(FLOWS), options.victim or []
    seconds, seed = options.minutes * 60, options.seed
    can_cancel, can_kill = (
        not only or bool({*only} & {*known}) for known in (CANCELS, KILLS | OF_THE_STACK)
    )
    with ProcessPoolExecutor(3, multiprocessing.get_context("fork")) as pool:
        kills = pool.submit(
            run_kills, seed, options.kills if can_kill else 0, seconds * 0.9, flows, only
        )
        cancels = pool.submit(
            run_cancels, seed, options.cancels if can_cancel else 0, seconds * 0.9, flows, only
        )
        together = pool.submit(try_together, seed, options.together)
        inputs = pool.submit(fuzz_all, seed, options.inputs, seconds / 6)
    outcomes, results = kills.result() + cancels.result(), inputs.result()
    rules = together.result()
    tables = {
        "trials": trial_rows(outcomes) if outcomes else [],
        "together": together_rows(rules) if rules else [],
        "inputs": input_rows(results) if options.inputs else [],
    }
    for name, rows in tables.items():
        print("", *rows, sep="\n")
        if options.write and rows:
            write_table(name, seed, rows)
    found = sum(len(findings) for _, findings in results.values())
    found += sum(bool(outcome.wrong) for outcome in outcomes)
    raise SystemExit(1 if found or any(one.broken for one in rules) else 0)


if __name__ == "__main__":
    main()
