"""A worker that begins flow runs at once: `python -m deployments.server.worker`.

For each run Prefect's process worker starts an interpreter that fetches the flow's code and then
becomes the one that runs it. Our flows are installed where their worker is: there is nothing to
fetch, and the first of the two costs as much as the second. The arguments are those of
`prefect worker start`.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

from deployments.quick_imports import quick_imports

with quick_imports():
    from prefect.cli import app
    from prefect.utilities.processutils import command_to_string
    from prefect.workers.process import ProcessJobConfiguration, ProcessWorker

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
    from prefect.client.schemas.responses import DeploymentResponse

_COMMAND = [sys.executable, "-m", "deployments.server.flow_run"]


class DirectJobConfiguration(ProcessJobConfiguration):
    """How a flow run is started: by our command where none was asked for."""

    def prepare_for_flow_run(
        self,
        flow_run: FlowRun,
        deployment: DeploymentResponse | None = None,
        flow: Flow | None = None,
        work_pool: WorkPool | None = None,
        worker_name: str | None = None,
        worker_id: UUID | None = None,
    ) -> None:
        """Fill in what is about this run."""
        if self.command is None:
            self.command = command_to_string(_COMMAND)
        super().prepare_for_flow_run(flow_run, deployment, flow, work_pool, worker_name, worker_id)


def main() -> None:
    """Start the worker."""
    with warnings.catch_warnings():
        # Prefect says that it takes the place of its own, as it is meant to.
        warnings.simplefilter("ignore")

        class DirectProcessWorker(ProcessWorker):
            job_configuration = DirectJobConfiguration

    sys.argv[:] = ["prefect", "worker", "start", *sys.argv[1:]]
    app()


if __name__ == "__main__":
    main()
