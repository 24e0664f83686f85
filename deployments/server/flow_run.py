"""The process of one flow run of a worker, which Prefect's engine runs."""

from __future__ import annotations

import os
import runpy

from deployments.quick_imports import quick_imports

if __name__ == "__main__":
    # Ctrl-C in the worker's terminal is for the worker, which asks its runs to end.
    os.setsid()
    with quick_imports():
        import prefect.flow_engine  # noqa: F401
    runpy.run_module("prefect.engine", run_name="__main__")
