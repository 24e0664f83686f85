"""Disturbs every flow at seeded instants: `python -m tests.faults --seed 1 --trials 50`."""

from __future__ import annotations

import argparse
import random
import time
from itertools import product

from tests.faults.laboratory import FLOWS, Laboratory
from tests.faults.trials import (
    CANCELS,
    CANCELS_OF_THE_STACK,
    KILLS,
    OF_THE_STACK,
    Outcome,
    try_once,
)


def run_trials(
    *, seed: int, trials: int, seconds: float, with_stack: bool, flows: list[str], names: list[str]
) -> list[Outcome]:
    """Trials over flows and victims in turn, so many in all; a line each."""
    of_this = (OF_THE_STACK | CANCELS_OF_THE_STACK) if with_stack else (KILLS | CANCELS)
    pairs = [pair for pair in product(flows, of_this) if not names or pair[1] in names]
    random.Random(seed).shuffle(pairs)
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + seconds
    laboratory = Laboratory(with_stack=with_stack)
    try:
        for number in range(trials if pairs else 0):
            if time.monotonic() > deadline:
                break
            flow, victim = pairs[number % len(pairs)]
            # A trial of its own: `--seed` and its number find it again.
            chance = random.Random(f"{seed} {number}")
            outcome = try_once(laboratory, flow, victim, chance)
            outcomes.append(outcome)
            words = f"WRONG {outcome.wrong}" if outcome.wrong else "as undisturbed"
            print(
                f"{number:4} {flow:22} {victim:18} at {outcome.instant:6.3f} s: "
                f"{outcome.was}; {words}",
                flush=True,
            )
    finally:
        laboratory.close()
    return outcomes


def main() -> None:
    """Read the options, run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=3600.0, help="begin no trial after these")
    parser.add_argument("--stack", action="store_true", help="on a stack: worker, server, web")
    parser.add_argument("--flow", action="append", choices=list(FLOWS))
    parser.add_argument("--victim", action="append", default=[])
    options = parser.parse_args()
    outcomes = run_trials(
        seed=options.seed,
        trials=options.trials,
        seconds=options.seconds,
        with_stack=options.stack,
        flows=options.flow or list(FLOWS),
        names=options.victim,
    )
    wrong = sum(bool(outcome.wrong) for outcome in outcomes)
    print(f"{len(outcomes)} trials, {wrong} wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
