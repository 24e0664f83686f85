"""`prefect.yaml` from the registry: `python -m deployments.server.prefect_yaml` writes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from deployments.registry import DEPLOYED_FLOWS, WORK_POOL, DeployedFlow

PREFECT_YAML = Path(__file__).parents[1] / "prefect.yaml"

_HEAD = """\
# Written by `python -m deployments.server.prefect_yaml` from deployments/registry.py; edit that.
#
# With PREFECT_API_URL naming a server, once:
#   prefect work-pool create visionflows --type process
# and then, as often as you like:
#   prefect --no-prompt deploy --all --prefect-file deployments/prefect.yaml
#
# `visionflows deploy` does all of this, and the automations, which this file cannot hold.
"""


class _Dumper(yaml.SafeDumper):
    """Lists are indented below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def render_prefect_yaml() -> str:
    """The text of `prefect.yaml`."""
    content = {
        "name": "visionflows",
        # The package is installed wherever a worker runs; nothing is built or pulled.
        "build": None,
        "push": None,
        "pull": [],
        "deployments": [_deployment(deployed) for deployed in DEPLOYED_FLOWS],
    }
    return _HEAD + yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)


def _deployment(deployed: DeployedFlow) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": deployed.name,
        "entrypoint": deployed.entrypoint,
        "description": deployed.description,
        "tags": list(deployed.tags),
        "parameters": dict(deployed.parameters),
        "enforce_parameter_schema": True,
        "work_pool": {"name": WORK_POOL},
    }
    if deployed.concurrency is not None:
        values["concurrency_limit"] = {
            "limit": deployed.concurrency,
            "collision_strategy": "ENQUEUE",
        }
    if deployed.schedule is not None:
        values["schedules"] = [
            {
                "slug": deployed.schedule.slug,
                "cron": deployed.schedule.cron,
                "timezone": "UTC",
                "parameters": dict(deployed.schedule.parameters),
                "active": deployed.schedule.needs is None,
            }
        ]
    return values


if __name__ == "__main__":
    PREFECT_YAML.write_text(render_prefect_yaml(), encoding="utf-8")
