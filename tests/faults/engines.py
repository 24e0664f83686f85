"""The part of `tests/end_to_end/test_engines.py` that takes long: a cluster of Ray."""

from __future__ import annotations

from tests.end_to_end.conftest import command as command
from tests.end_to_end.test_engines import measure_on_a_cluster
from tests.end_to_end.test_engines import pictures as pictures


def test_a_node_of_ray_is_killed_and_the_results_are_those_of_one_process(
    command, database, pictures, tmp_path, monkeypatch
):
    measure_on_a_cluster("ray", command, database, pictures, tmp_path, monkeypatch)
