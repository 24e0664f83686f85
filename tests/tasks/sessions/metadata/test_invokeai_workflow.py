"""Workflows of InvokeAI, which tell prompts and settings by their nodes."""

from __future__ import annotations

import json

from tasks.sessions.metadata.generators import Generator, generation_metadata
from tasks.sessions.problems import session_log

WORKFLOW = {
    "nodes": [
        {"id": "p", "data": {"type": "compel", "inputs": {"prompt": {"value": "a boat"}}}},
        {"id": "n", "data": {"type": "compel", "inputs": {"prompt": {"value": "ugly"}}}},
        {
            "id": "m",
            "data": {"type": "main_model_loader", "inputs": {"model": {"value": {"name": "m"}}}},
        },
        {
            "id": "x",
            "data": {
                "type": "noise",
                "inputs": {"seed": {"value": 11}, "width": {"value": 64}, "height": {"value": 96}},
            },
        },
        {
            "id": "d",
            "data": {
                "type": "denoise_latents",
                "inputs": {
                    "steps": {"value": 20},
                    "cfg_scale": {"value": 7.5},
                    "scheduler": {"value": "euler"},
                },
            },
        },
    ],
    "edges": [
        {"source": s, "sourceHandle": h, "target": "d", "targetHandle": t}
        for s, h, t in (
            ("p", "conditioning", "positive_conditioning"),
            ("n", "conditioning", "negative_conditioning"),
            ("x", "noise", "noise"),
            ("m", "unet", "unet"),
        )
    ],
}


def test_a_workflow_of_invokeai():
    log = session_log()
    found = generation_metadata({"invokeai_workflow": json.dumps(WORKFLOW)}, "image.png", log)
    assert log.entries() == ()
    assert (found.generator, found.sd_model) == (Generator.INVOKEAI, "m")
    assert (found.prompt, found.negative_prompt) == ("a boat", "ugly")
    assert (found.seed, found.steps, found.cfg_scale) == (11, 20, 7.5)
    assert (found.sampler_name, found.sd_model) == ("euler", "m")


def test_a_workflow_of_invokeai_without_edges():
    log = session_log()
    texts = {"invokeai_workflow": json.dumps({**WORKFLOW, "edges": []})}
    found = generation_metadata(texts, "image.png", log)
    # Two nodes have a prompt, so none of them is told.
    assert (found.prompt, found.negative_prompt) == (None, None)
    assert (found.seed, found.steps, found.cfg_scale) == (11, 20, 7.5)
    assert [problem.code for problem in log.entries()] == ["metadata_prompt_missing"]
