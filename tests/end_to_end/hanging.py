"""A test that has its servers and goes on for long; `test_ended_runs` runs it, and ends it."""

import time


def test_with_servers(prefect_api, postgresql):
    print("at work", flush=True)
    time.sleep(120)
