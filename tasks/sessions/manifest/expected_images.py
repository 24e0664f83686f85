"""How many images a session promises, and whether it is a sweep over seeds."""

from __future__ import annotations

import math
from collections.abc import Collection

from tasks.sessions.json_values import LARGEST_COUNT

_COMBINATORIAL = "combinatorial"
_PROGRESSIVE = "progressive"
_SEED_SWEEP = "seed-sweep"


def expected_image_count(
    *,
    mode: str | None,
    used_counts: Collection[int],
    num_images: int | None = None,
    max_images: int | None = None,
    total_combinations: int | None = None,
    seed_list_length: int = 0,
) -> int:
    """Count the images that a session's parameters promise.

    What the generator planned (`num_images`) decides. Without it: with a list of seeds, every
    combination with every seed, at most `max_images`; in combinatorial mode, every combination;
    else `max_images`.

    Args:
        used_counts: number of used values of each placeholder; 0 does not count.
        num_images: the number of images as planned.
        max_images: the most images that were asked for.
        total_combinations: the number of combinations as stated; taken in combinatorial mode
            where no placeholder has a used value.
        seed_list_length: number of seeds listed; 0 without a list.

    Returns:
        The number, at most `LARGEST_COUNT`; 0 where nothing tells.
    """
    if num_images is not None:
        return num_images
    used = [count for count in used_counts if count > 0]
    combinations = math.prod(used)
    if seed_list_length:
        promised = combinations * seed_list_length
        promised = promised if max_images is None else min(promised, max_images)
    elif _normal(mode) == _COMBINATORIAL and used:
        promised = combinations
    elif _normal(mode) == _COMBINATORIAL and total_combinations:
        promised = total_combinations
    else:
        promised = max_images or 0
    return min(promised, LARGEST_COUNT)


def completion_percentage(actual: int, expected: int) -> float:
    """How much of what was expected is there, in percent with two decimals; 0 of nothing."""
    return round(actual / expected * 100, 2) if expected > 0 else 0.0


def is_seed_sweep(
    *,
    mode: str | None,
    seed_mode: str | None,
    used_counts: Collection[int],
    seed_list_length: int = 0,
) -> bool:
    """Tell whether a session shows what seeds do: it varies little else.

    It is one if its mode says so or it lists its seeds; else if seeds are progressive and at most
    one placeholder has more than one used value.
    """
    if seed_list_length or _SEED_SWEEP in (_normal(mode), _normal(seed_mode)):
        return True
    varied = sum(count > 1 for count in used_counts)
    return _normal(seed_mode) == _PROGRESSIVE and varied <= 1


def _normal(mode: str | None) -> str:
    return (mode or "").strip().lower().replace("_", "-").replace(" ", "-")
