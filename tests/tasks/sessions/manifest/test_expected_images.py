from __future__ import annotations

import pytest

from tasks.sessions.manifest.expected_images import (
    completion_percentage,
    expected_image_count,
    is_seed_sweep,
)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        # the documented examples
        ({"mode": "combinatorial", "used_counts": [3, 2], "max_images": 100}, 6),
        ({"mode": "random", "used_counts": [1], "max_images": 50}, 50),
        ({"mode": "combinatorial", "used_counts": [12], "seed_list_length": 20}, 240),
        ({"mode": "combinatorial", "used_counts": [1, 12], "seed_list_length": 20}, 240),
        ({"mode": "combinatorial", "used_counts": [], "seed_list_length": 200}, 200),
        # what was planned decides
        ({"mode": "combinatorial", "used_counts": [3, 2], "num_images": 4}, 4),
        ({"mode": "random", "used_counts": [9], "num_images": 0, "max_images": 5}, 0),
        # at most what was asked for
        (
            {
                "mode": "random",
                "used_counts": [50],
                "seed_list_length": 10,
                "max_images": 100,
            },
            100,
        ),
        # a placeholder without used values does not count
        ({"mode": "combinatorial", "used_counts": [3, 0, 2]}, 6),
        # no used values are no combination, not one
        ({"mode": "combinatorial", "used_counts": []}, 0),
        ({"mode": "combinatorial", "used_counts": [0], "max_images": 7}, 7),
        ({"mode": "combinatorial", "used_counts": [], "total_combinations": 9}, 9),
        ({"mode": "random", "used_counts": [3], "total_combinations": 9}, 0),
        ({"mode": None, "used_counts": []}, 0),
        ({"mode": "combinatorial", "used_counts": [10**6] * 9}, 2**63 - 1),
    ],
)
def test_expected_images(parameters, expected):
    assert expected_image_count(**parameters) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        # the documented examples
        ({"mode": "combinatorial", "seed_mode": "progressive", "used_counts": [3, 2]}, False),
        ({"mode": "random", "seed_mode": "progressive", "used_counts": [1]}, True),
        ({"mode": "random", "seed_mode": "progressive", "used_counts": [20, 1, 1]}, True),
        ({"mode": "random", "seed_mode": "random", "used_counts": [1]}, False),
        ({"mode": "random", "seed_mode": "fixed", "used_counts": [1]}, False),
        ({"mode": "combinatorial", "seed_mode": "progressive", "used_counts": []}, True),
        # said explicitly
        (
            {"mode": "combinatorial", "seed_mode": "fixed", "used_counts": [3, 2]}
            | {"seed_list_length": 20},
            True,
        ),
        ({"mode": "seed-sweep", "seed_mode": "fixed", "used_counts": [3, 2]}, True),
        ({"mode": "random", "seed_mode": "Seed_Sweep", "used_counts": [3, 2]}, True),
        ({"mode": None, "seed_mode": None, "used_counts": []}, False),
    ],
)
def test_seed_sweeps(parameters, expected):
    assert is_seed_sweep(**parameters) is expected


@pytest.mark.parametrize(
    ("actual", "expected", "percentage"),
    [(6, 6, 100.0), (1, 3, 33.33), (2, 3, 66.67), (0, 5, 0.0), (5, 0, 0.0), (7, 6, 116.67)],
)
def test_completion(actual, expected, percentage):
    assert completion_percentage(actual, expected) == percentage
