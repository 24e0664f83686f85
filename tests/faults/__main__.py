"""Disturbs every flow at seeded instants, and gives damaged inputs to every reader.

    python -m tests.faults --seed 1 --trials 80 --stack-trials 40 --inputs 20000

A line tells of each trial; the tables at the end go into docs/reliability.md with `--write`.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import product

from tests.faults.fuzzing import fuzz_all
from tests.faults.laboratory import FLOWS, Laboratory
from tests.faults.table import input_rows, trial_rows, write_table
from tests.faults.trials import (
    CANCELS,
    CANCELS_OF_THE_STACK,
    KILLS,
    OF_THE_STACK,
    Outcome,
    try_once,
)


def run_trials(
    seed: int, trials: int, seconds: float, flows: list[str], victims: list[str], *, stack: bool
) -> list[Outcome]:
    """Trials over flows and victims in turn, so many in all; a line each."""
    pairs = list(product(flows, victims))
    if not pairs or not trials:
        return []
    random.Random(seed).shuffle(pairs)
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + seconds
    laboratory = Laboratory(with_stack=stack)
    try:
        for number in range(trials):
            if time.monotonic() > deadline:
                break
            flow, victim = pairs[number % len(pairs)]
            outcome = try_once(laboratory, flow, victim, random.Random(f"{seed} {number}"))
            outcomes.append(outcome)
            words = f"WRONG: {outcome.wrong}" if outcome.wrong else "as undisturbed"
            at = f"{number:4} {flow:22} {victim:18} at {outcome.instant:6.3f} s"
            print(f"{at}: {outcome.was}; {words}", flush=True)
    finally:
        laboratory.close()
    return outcomes


def main() -> None:
    """Read the options, run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=80, help="of commands in a terminal")
    parser.add_argument("--stack-trials", type=int, default=40, help="of runs on a worker")
    parser.add_argument("--inputs", type=int, default=20_000, help="of each kind")
    parser.add_argument("--seconds", type=float, default=1200, help="for each of the parts at most")
    parser.add_argument("--flow", action="append", choices=list(FLOWS))
    parser.add_argument("--victim", action="append", help="the part of it that is disturbed")
    parser.add_argument("--write", action="store_true", help="tables go into docs/reliability.md")
    options = parser.parse_args()
    flows, outcomes = options.flow or list(FLOWS), []
    for stack, trials, known in (
        (False, options.trials, KILLS | CANCELS),
        (True, options.stack_trials, OF_THE_STACK | CANCELS_OF_THE_STACK),
    ):
        victims = [name for name in known if not options.victim or name in options.victim]
        outcomes += run_trials(options.seed, trials, options.seconds, flows, victims, stack=stack)
    results = fuzz_all(options.seed, options.inputs, options.seconds / 5) if options.inputs else {}
    tables = {"trials": trial_rows(outcomes) if outcomes else [], "inputs": input_rows(results)}
    for name, rows in tables.items():
        print("", *rows, sep="\n")
        if options.write and rows:
            write_table(name, options.seed, rows)
    found = sum(len(findings) for _, findings in results.values())
    raise SystemExit(1 if found or any(outcome.wrong for outcome in outcomes) else 0)


if __name__ == "__main__":
    main()
