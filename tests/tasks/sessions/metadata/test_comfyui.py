"""Prompts of graphs whose links do not go straight from an encoder to the sampler."""

from __future__ import annotations

import json
import time

import pytest

from tasks.sessions.metadata.comfyui import MOST_NODES, read_prompt_graph
from tasks.sessions.metadata.generators import Generator, generation_metadata
from tasks.sessions.problems import session_log
from tests.tasks.sessions.metadata.comfyui_graphs import (
    BASE,
    CUSTOM,
    FROM_10,
    KEPT_APART,
    encoder,
    node,
    sampler,
    through,
)


def read(graph):
    log = session_log()
    found = generation_metadata({"prompt": json.dumps(graph)}, "image.png", log)
    return found, [problem.reason for problem in log.entries()]


@pytest.mark.parametrize("name", KEPT_APART)
def test_prompts_are_kept_apart(name):
    found, problems = read(KEPT_APART[name])
    assert problems == []
    assert found.generator is Generator.COMFYUI
    assert (found.prompt, found.negative_prompt) == ("a boat", "ugly")
    assert (found.seed, found.sd_model) == (11, "m.safetensors")


@pytest.mark.parametrize(
    "name", [name for name in KEPT_APART if name not in ("embeddings of both texts",)]
)
def test_settings_of_the_sampler(name):
    found, _ = read(KEPT_APART[name])
    assert (found.steps, found.cfg_scale, found.sampler_name) == (20, 7.0, "euler")


def test_the_size_of_a_loader():
    found, _ = read(KEPT_APART["loader with texts"])
    assert (found.width, found.height) == (512, 768)


@pytest.mark.parametrize(
    ("graph", "prompt", "negative"),
    [
        (
            {
                **BASE,
                "7": node("ConditioningZeroOut", conditioning=["6", 0]),
                "3": sampler(["6", 0], ["7", 0]),
            },
            "a boat",
            None,
        ),
        ({**BASE, "7": encoder("  "), "3": sampler(["6", 0], ["7", 0])}, "a boat", None),
        ({**BASE, "6": encoder(""), "3": sampler(["6", 0], ["7", 0])}, "", "ugly"),
        (
            {
                **BASE,
                **CUSTOM,
                "8": node("FluxGuidance", guidance=3.5, conditioning=["6", 0]),
                "10": node("BasicGuider", model=["4", 0], conditioning=["8", 0]),
            },
            "a boat",
            None,
        ),
        (
            {
                **BASE,
                **CUSTOM,
                "8": encoder("at sea"),
                "10": node("DualCFGGuider", cond1=["6", 0], cond2=["8", 0], negative=["7", 0]),
            },
            "a boat\nat sea",
            "ugly",
        ),
        (
            {
                **BASE,
                "10": node("HunyuanImageToVideo", positive=["6", 0], vae=["4", 2]),
                "3": sampler(["10", 0], ["7", 0], latent_image=["10", 1]),
            },
            "a boat",
            "ugly",
        ),
        (
            {
                **BASE,
                "8": encoder("at sea"),
                "10": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["8", 0]),
                "3": sampler(["10", 0], ["7", 0]),
            },
            "a boat\nat sea",
            "ugly",
        ),
        (
            {
                **BASE,
                "8": encoder("at sea"),
                "10": node(
                    "ConditioningConcat", conditioning_to=["8", 0], conditioning_from=["6", 0]
                ),
                "14": node(
                    "ConditioningAverage",
                    conditioning_to=["10", 0],
                    conditioning_from=["6", 0],
                    conditioning_to_strength=0.5,
                ),
                "3": sampler(["14", 0], ["7", 0]),
            },
            "at sea\na boat",
            "ugly",
        ),
        (
            {
                **BASE,
                "6": node("CLIPTextEncodeFlux", clip_l="boat", t5xxl="a boat", guidance=3.5),
                "7": node("CLIPTextEncodeSD3", clip_l="ugly", clip_g="ugly", t5xxl="bad"),
                "3": sampler(["6", 0], ["7", 0]),
            },
            "boat\na boat",
            "ugly\nbad",
        ),
        # What is really crossed is told as it was drawn.
        (
            {**through("ControlNetApplyAdvanced"), "3": sampler(["10", 1], ["10", 0])},
            "ugly",
            "a boat",
        ),
        (
            {
                "1": node("UNETLoader", unet_name="flux.safetensors"),
                "6": encoder("a boat"),
                "3": node(
                    "XlabsSampler",
                    noise_seed=11,
                    steps=20,
                    model=["1", 0],
                    conditioning=["6", 0],
                    neg_conditioning=["7", 0],
                ),
                "7": encoder("ugly"),
            },
            "a boat",
            "ugly",
        ),
    ],
)
def test_prompts_that_are_absent_or_made_of_several(graph, prompt, negative):
    found, problems = read(graph)
    assert (found.prompt, found.negative_prompt, problems) == (prompt, negative, [])


@pytest.mark.parametrize(
    ("graph", "prompt", "negative", "problem"),
    [
        (
            {**BASE, "3": sampler(["6", 0], ["6", 0])},
            "a boat",
            None,
            "one text is both prompts of the sampler 3 (KSampler): it is told as the prompt alone",
        ),
        (
            {**BASE, "7": encoder("a boat"), "3": sampler(["6", 0], ["7", 0])},
            "a boat",
            None,
            "one text is both prompts of the sampler 3 (KSampler): it is told as the prompt alone",
        ),
        (
            {**BASE, "6": node("Speech", language="en"), "3": sampler(["6", 0], ["7", 0])},
            None,
            "ugly",
            "no text leads to the prompt of the sampler 3 (KSampler); the links end at 6 (Speech)",
        ),
        (
            {**BASE, "7": node("Speech", language="en"), "3": sampler(["6", 0], ["7", 0])},
            "a boat",
            None,
            "no text leads to the negative prompt of the sampler 3 (KSampler); "
            "the links end at 7 (Speech)",
        ),
        (
            {**BASE, "8": node("SaveImage", images=["5", 0])},
            None,
            None,
            "the graph has no sampler that is known",
        ),
    ],
)
def test_a_missing_prompt_is_said(graph, prompt, negative, problem):
    found, problems = read(graph)
    assert (found.prompt, found.negative_prompt) == (prompt, negative)
    assert problems == [f"comfyui: {problem}"]


def test_a_video_of_an_image_alone_has_no_prompt():
    graph = {
        **BASE,
        "10": node(
            "SVD_img2vid_Conditioning", clip_vision=["4", 1], init_image=["9", 0], width=1024
        ),
        "3": FROM_10,
    }
    found, problems = read(graph)
    assert (found.prompt, found.negative_prompt, found.seed) == (None, None, 11)
    assert len(problems) == 2


def test_links_in_a_circle_end():
    graph = {
        **BASE,
        "6": node("ConditioningCombine", conditioning_1=["10", 0], conditioning_2=["10", 1]),
        "10": node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0]),
        "3": FROM_10,
    }
    found, _ = read(graph)
    assert (found.prompt, found.negative_prompt) == ("ugly", None)


def test_enormous_graphs_take_little_time():
    started = time.process_time()
    chain = {
        str(number): node("Apply", positive=[str(number + 1), 0], negative=[str(number + 1), 1])
        for number in range(100, MOST_NODES - 2)
    }
    last = str(MOST_NODES - 2)
    chain[last] = node("Both", positive="a boat", negative="ugly")
    chain["3"] = sampler(["100", 0], ["100", 1])
    found = read_prompt_graph(chain)
    assert (found.values["prompt"], found.values["negative_prompt"]) == ("a boat", "ugly")
    # Every node a sampler, below a long way without one.
    samplers = {
        str(number): sampler([str(number + 1), 0], [str(number + 1), 1])
        for number in range(MOST_NODES - 1)
    }
    assert read_prompt_graph(samplers).values["seed"] == 11
    # Many outputs of a node with many inputs.
    many = {f"n{number}_text": f"a{number}" for number in range(50_000)}
    crowd = {
        "1": node("Crowd", **many, negative="b"),
        "3": sampler(["1", 0], ["1", 1]),
        "2": node("Join", **{f"text{number}": ["1", number] for number in range(50_000)}),
    }
    crowd["3"]["inputs"]["positive"] = ["2", 0]
    assert read_prompt_graph(crowd).values["negative_prompt"] == "b"
    assert time.process_time() - started < 10
    too_large = {str(number): {} for number in range(MOST_NODES + 1)}
    assert read_prompt_graph(too_large).problems == ("the graph has 10001 nodes, more than 10000",)
