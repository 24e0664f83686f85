"""Prompts of graphs whose links do not go straight from an encoder to the sampler."""

from __future__ import annotations

import json
import time

import pytest

from tasks.sessions.metadata.comfyui import MOST_NODES, read_prompt_graph
from tasks.sessions.metadata.generators import Generator, generation_metadata
from tasks.sessions.problems import session_log


def node(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def encoder(text):
    return node("CLIPTextEncode", text=text, clip=["4", 1])


SETTINGS = {"steps": 20, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}


def sampler(positive, negative, **changes):
    inputs = {"seed": 11, "model": ["4", 0], "latent_image": ["5", 0], **SETTINGS}
    return node("KSampler", **{**inputs, "positive": positive, "negative": negative, **changes})


BASE = {
    "4": node("CheckpointLoaderSimple", ckpt_name="m.safetensors"),
    "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
    "6": encoder("a boat"),
    "7": encoder("ugly"),
}
FROM_10 = sampler(["10", 0], ["10", 1])
BOTH = {"positive": ["6", 0], "negative": ["7", 0]}
CUSTOM = {
    "11": node("RandomNoise", noise_seed=11),
    "12": node("KSamplerSelect", sampler_name="euler"),
    "13": node("BasicScheduler", scheduler="simple", steps=20, model=["4", 0]),
    "3": node(
        "SamplerCustomAdvanced",
        noise=["11", 0],
        guider=["10", 0],
        sampler=["12", 0],
        sigmas=["13", 0],
        latent_image=["5", 0],
    ),
}


def through(kind, **inputs):
    """A graph whose node 10 takes both encoders, and gives its outputs 0 and 1 to the sampler."""
    return {**BASE, "10": node(kind, **BOTH, **inputs), "3": FROM_10}


KEPT_APART = {
    "plain": {**BASE, "3": sampler(["6", 0], ["7", 0])},
    "controlnet": through("ControlNetApplyAdvanced", control_net=["8", 0], image=["9", 0]),
    "inpainting": through("InpaintModelConditioning", vae=["4", 2], pixels=["9", 0]),
    "InstructPix2Pix": through("InstructPixToPixConditioning", vae=["4", 2], pixels=["9", 0]),
    "image to video": through("WanImageToVideo", vae=["4", 2], width=832, height=480, length=81),
    "frame rate of a video": through("LTXVConditioning", frame_rate=25.0),
    "two that follow each other": {
        **through("ControlNetApplyAdvanced", control_net=["8", 0]),
        "14": node("ControlNetApplySD3", positive=["10", 0], negative=["10", 1], vae=["4", 2]),
        "3": sampler(["14", 0], ["14", 1]),
    },
    "crossed twice": {
        **BASE,
        "10": node("ControlNetApplyAdvanced", positive=["7", 0], negative=["6", 0]),
        "3": sampler(["10", 1], ["10", 0]),
    },
    "controlnet of one side": {
        **BASE,
        "10": node("ControlNetApply", conditioning=["6", 0], control_net=["8", 0], image=["9", 0]),
        "3": sampler(["10", 0], ["7", 0]),
    },
    "controlnet with the image of another sampler": {
        **through("ControlNetApplyAdvanced", control_net=["8", 0], image=["20", 0]),
        "20": node("VAEDecode", samples=["21", 0], vae=["4", 2]),
        "21": node("ElsewhereSampled", positive=["22", 0], negative=["22", 0]),
        "22": encoder("another picture"),
    },
    "CFGGuider": {**BASE, **CUSTOM, "10": node("CFGGuider", model=["4", 0], cfg=7.0, **BOTH)},
    "PerpNegGuider": {
        **BASE,
        **CUSTOM,
        "10": node("PerpNegGuider", model=["4", 0], cfg=7.0, empty_conditioning=["20", 0], **BOTH),
        "20": encoder("nothing"),
    },
    "SamplerCustom": {
        **BASE,
        **CUSTOM,
        "3": node(
            "SamplerCustom",
            **{"noise_seed": 11, "cfg": 7.0, "model": ["4", 0], "latent_image": ["5", 0], **BOTH},
            sampler=["12", 0],
            sigmas=["13", 0],
        ),
    },
    "loader with texts": {
        "1": node(
            "Efficient Loader",
            ckpt_name="m.safetensors",
            positive="a boat",
            negative="ugly",
            empty_latent_width=512,
            empty_latent_height=768,
            lora_name="None",
        ),
        "3": sampler(["1", 1], ["1", 2], model=["1", 0], latent_image=["1", 3]),
    },
    "sampler that gives its conditioning on": {
        **BASE,
        "2": node("KSampler (Efficient)", **{**SETTINGS, **BOTH, "seed": 11, "model": ["4", 0]}),
        "3": sampler(["2", 1], ["2", 2], latent_image=["2", 3], seed=12),
    },
    "loader of unknown make": {
        "1": node("My Loader", ckpt_name="m.safetensors", positive="a boat", negative="ugly"),
        "3": sampler(["1", 1], ["1", 2], model=["1", 0], latent_image=["5", 0]),
        "5": BASE["5"],
    },
    "pipe": {
        "1": node("easy fullLoader", ckpt_name="m.safetensors", positive="a boat", negative="ugly"),
        "3": node("easy fullkSampler", pipe=["1", 0], seed=11, **SETTINGS),
    },
    "settings in front of the sampler of a pipe": {
        "1": node(
            "easy a1111Loader", ckpt_name="m.safetensors", positive=["8", 0], negative="ugly"
        ),
        "8": node("easy positive", positive="a boat"),
        "2": node("easy preSampling", pipe=["1", 0], seed=11, **SETTINGS),
        "3": node("easy kSampler", pipe=["2", 0], image_output="Save"),
    },
    "pipe that is taken apart": {
        **BASE,
        "8": node("ToBasicPipe", model=["4", 0], clip=["4", 1], vae=["4", 2], **BOTH),
        "9": node("FromBasicPipe", basic_pipe=["8", 0]),
        "3": sampler(["9", 3], ["9", 4]),
    },
    "context": {
        **BASE,
        "8": node("Context (rgthree)", model=["4", 0], **BOTH),
        "9": node("Context (rgthree)", base_ctx=["8", 0], positive=["6", 0]),
        "3": sampler(["9", 4], ["9", 5]),
    },
    "embeddings of both texts": {
        "1": node("WanVideoModelLoader", model="m.safetensors"),
        "2": node("WanVideoTextEncode", positive_prompt="a boat", negative_prompt="ugly"),
        "3": node(
            "WanVideoSampler", seed=11, model=["1", 0], text_embeds=["2", 0], scheduler="unipc"
        ),
    },
    "styler": {
        **BASE,
        "8": node("SDXLPromptStyler", text_positive="a boat", text_negative="ugly", style="base"),
        "6": encoder(["8", 0]),
        "7": encoder(["8", 1]),
        "3": sampler(["6", 0], ["7", 0]),
    },
    "styler of six outputs": {
        **BASE,
        "8": node(
            "SDXLPromptStylerAdvanced",
            text_positive_g="a boat",
            text_positive_l="a boat",
            text_negative="ugly",
            style="base",
        ),
        "6": node(
            "CLIPTextEncodeSDXL", text_g=["8", 0], text_l=["8", 1], width=1024, clip=["4", 1]
        ),
        "7": encoder(["8", 5]),
        "3": sampler(["6", 0], ["7", 0]),
    },
    "texts of a style selector": {
        **BASE,
        "8": node("easy positive", positive="a boat"),
        "9": node("easy negative", negative="ugly"),
        "10": node("easy stylesSelector", styles="fooocus", positive=["8", 0], negative=["9", 0]),
        "6": encoder(["10", 0]),
        "7": encoder(["10", 1]),
        "3": sampler(["6", 0], ["7", 0]),
    },
    "node with prompt and negative_prompt": {
        **BASE,
        "8": node("Prompts", prompt="a boat", negative_prompt="ugly"),
        "6": encoder(["8", 0]),
        "7": encoder(["8", 1]),
        "3": sampler(["6", 0], ["7", 0]),
    },
    "wildcards": {
        **BASE,
        "8": node(
            "ImpactWildcardProcessor",
            wildcard_text="a {boat|car}",
            populated_text="a boat",
            mode="populate",
            seed=5,
        ),
        "6": encoder(["8", 0]),
        "3": sampler(["6", 0], ["7", 0]),
    },
    "wildcards that are shown": {
        **BASE,
        "8": node("DPRandomGenerator", text="a {boat|car}", seed=5),
        "9": node("ShowText|pysssss", text=["8", 0], text_0="a boat"),
        "6": encoder(["9", 0]),
        "3": sampler(["6", 0], ["7", 0]),
    },
    "wildcards that are encoded": {
        **BASE,
        "8": node(
            "ImpactWildcardEncode",
            model=["4", 0],
            clip=["4", 1],
            wildcard_text="a {boat|car}",
            populated_text="a boat",
            seed=5,
        ),
        "3": sampler(["8", 2], ["7", 0], model=["8", 0]),
    },
    "text joined by a word": {
        **BASE,
        "8": node("PrimitiveString", value="a "),
        "9": node("StringConcatenate", string_a=["8", 0], string_b="boat", delimiter=" "),
        "6": encoder(["9", 0]),
        "3": sampler(["6", 0], ["7", 0]),
    },
    "switch": {
        **BASE,
        "8": encoder("a car"),
        "9": node("ImpactSwitch", select=2, sel_mode=False, input1=["8", 0], input2=["6", 0]),
        "3": sampler(["9", 0], ["7", 0]),
    },
}


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
