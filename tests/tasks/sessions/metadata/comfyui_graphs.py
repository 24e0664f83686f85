"""Graphs of ComfyUI, as its pictures hold them, whose two prompts are kept apart."""

from __future__ import annotations


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
