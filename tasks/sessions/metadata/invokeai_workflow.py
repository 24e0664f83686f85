"""The workflow that InvokeAI writes into images, as a graph in the form of ComfyUI's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

# What InvokeAI calls otherwise than ComfyUI.
_NAMES = {"scheduler": "sampler_name", "cfg_scale": "cfg", "positive_conditioning": "positive"}
_NAMES["negative_conditioning"] = "negative"


def workflow_as_graph(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Turn nodes with values, and edges between their fields, into nodes whose inputs hold both.

    What has another form than a workflow gives is left out.
    """
    graph: dict[str, Any] = {}
    for node in _objects(workflow.get("nodes")):
        data = node.get("data")
        inputs = data.get("inputs") if isinstance(data, Mapping) else None
        if isinstance(data, Mapping) and isinstance(inputs, Mapping):
            values = {
                _NAMES.get(name, name): field["value"]
                for name, field in inputs.items()
                # A list would be taken for a link.
                if isinstance(field, Mapping)
                and isinstance(field.get("value"), str | int | float | dict)
            }
            graph[str(node.get("id"))] = {"class_type": data.get("type"), "inputs": values}
    for edge in _objects(workflow.get("edges")):
        target = graph.get(str(edge.get("target")))
        name = str(edge.get("targetHandle"))
        if target is not None:
            target["inputs"][_NAMES.get(name, name)] = [str(edge.get("source")), None]
    return graph


def values_of_one_node(graph: Mapping[str, Any]) -> dict[str, object]:
    """Give the plain values whose names only one node has."""
    values = [
        (name, value)
        for node in graph.values()
        for name, value in node["inputs"].items()
        if isinstance(value, str | int | float)
    ]
    times = Counter(name for name, _ in values)
    return {name: value for name, value in values if times[name] == 1}


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
