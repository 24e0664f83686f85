"""What an image tells of how it was generated, in the forms of the common generators."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

from tasks.reports.problem_log import ProblemLog
from tasks.sessions.json_values import LONGEST_NAME, LONGEST_TEXT, JsonObject
from tasks.sessions.metadata.automatic1111 import parse_parameters
from tasks.sessions.metadata.comfyui import read_prompt_graph
from tasks.sessions.metadata.invokeai_workflow import values_of_one_node, workflow_as_graph
from tasks.sessions.metadata.model_names import split_model_name
from tasks.sessions.problems import SessionProblemCode

_NO_PROMPT = SessionProblemCode.METADATA_PROMPT_MISSING
_SIZE = re.compile(r"\s*\(?\s*([0-9]{1,9})\s*[x×,]\s*([0-9]{1,9})\s*\)?\s*")
_NOVELAI_SOURCE = re.compile(r"(.*\S)\s+([0-9A-F]{8})")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


class Generator(StrEnum):
    """The programs whose metadata is read."""

    AUTOMATIC1111 = "automatic1111"  # and what descends from it: Forge, reForge, SD.Next
    COMFYUI = "comfyui"
    FOOOCUS = "fooocus"
    INVOKEAI = "invokeai"
    NOVELAI = "novelai"
    SWARMUI = "swarmui"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationMetadata:
    """How one image was generated; the names are those of `SessionStatistics`."""

    generator: Generator
    prompt: str | None = None
    negative_prompt: str | None = None
    sd_model: str | None = None
    sd_model_hash: str | None = None
    seed: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    sampler_name: str | None = None
    width: int | None = None
    height: int | None = None


def generation_metadata(
    texts: Mapping[str, str], place: str, log: ProblemLog
) -> GenerationMetadata | None:
    """Read what the texts of a known generator tell; None where none left any.

    The log is of this image alone; it gets an entry where a generator is known, but no prompt.
    """
    readers = (_invokeai, _novelai, _parameters, _comment, _comfyui)
    for reader in readers:
        found = reader(texts, place, log)
        if found is not None:
            # Of a graph its reader has said it, and why.
            if found.prompt is None and _NO_PROMPT not in log:
                log.add(_NO_PROMPT, f"{found.generator}: no prompt is told", place=place)
            return found
    return None


# What values are mostly called; a generator that has other names gives them to `_told`.
_KEYS = {
    **{name: name for name in ("prompt", "negative_prompt", "seed", "steps", "cfg_scale")},
    "model": "",
    "sampler": "sampler",
    "width": "width",
    "height": "height",
}


def _told(generator: Generator, values: JsonObject, **keys: str) -> GenerationMetadata:
    """What values tell under the names of a generator; under an empty one they tell nothing."""
    key = _KEYS | keys
    return GenerationMetadata(
        generator=generator,
        prompt=values.text(key["prompt"]),
        negative_prompt=values.text(key["negative_prompt"]),
        sd_model=values.name(key["model"]),
        seed=values.seed(key["seed"]),
        steps=values.whole_number(key["steps"]),
        cfg_scale=values.number(key["cfg_scale"]),
        sampler_name=values.name(key["sampler"]),
        width=values.whole_number(key["width"], smallest=1),
        height=values.whole_number(key["height"], smallest=1),
    )


def _parameters(texts: Mapping[str, str], place: str, log: ProblemLog) -> GenerationMetadata | None:
    """Read `parameters` of PNG or the user comment of EXIF: a text, or JSON."""
    text = texts.get("parameters") or texts.get("UserComment") or ""
    document = _json(text)
    if isinstance(document, dict):
        if "sui_image_params" in document:
            return _swarmui(JsonObject(document["sui_image_params"], place, log))
        scheme = texts.get("fooocus_scheme") or texts.get("MakerNote")
        if scheme == "fooocus" or "base_model" in document:
            return _fooocus(JsonObject(document, place, log))
        return None
    fields = parse_parameters(text)
    if fields is None:
        return None
    values = JsonObject(fields.values, place, log)
    width, height = _size(values.text("Size"))
    model, model_hash = split_model_name(values.name("Model", "Base Model"))
    is_fooocus = str(values.values.get("Version")).startswith("Fooocus")
    generator = Generator.FOOOCUS if is_fooocus else Generator.AUTOMATIC1111
    names = {"seed": "Seed", "steps": "Steps", "cfg_scale": "CFG scale", "sampler": "Sampler"}
    elsewhere = dict.fromkeys(("prompt", "negative_prompt", "width", "height"), "")
    return replace(
        _told(generator, values, **names, **elsewhere),
        prompt=values.cut(fields.prompt, "prompt", LONGEST_TEXT),
        negative_prompt=values.cut(fields.negative_prompt, "negative_prompt", LONGEST_TEXT),
        sd_model=model,
        sd_model_hash=values.name("Model hash", "Base Model Hash") or model_hash,
        width=width,
        height=height,
    )


def _comment(texts: Mapping[str, str], place: str, log: ProblemLog) -> GenerationMetadata | None:
    """Read the JSON that older releases of Fooocus leave in a comment."""
    document = _json(texts.get("Comment") or texts.get("comment") or "")
    if isinstance(document, dict) and "base_model" in document:
        return _fooocus(JsonObject(document, place, log))
    return None


def _fooocus(values: JsonObject) -> GenerationMetadata:
    width, height = _size(values.text("resolution"))
    sides = {} if width else {"width": "width", "height": "height"}
    names = {"model": "base_model", "cfg_scale": "guidance_scale", "width": "", "height": ""}
    found = _told(Generator.FOOOCUS, values, **names | sides)
    found = replace(found, sd_model_hash=values.name("base_model_hash"))
    return replace(found, width=width, height=height) if width else found


def _swarmui(values: JsonObject) -> GenerationMetadata:
    names = {"negative_prompt": "negativeprompt", "model": "model", "cfg_scale": "cfgscale"}
    return _told(Generator.SWARMUI, values, **names)


def _novelai(texts: Mapping[str, str], place: str, log: ProblemLog) -> GenerationMetadata | None:
    if texts.get("Software") != "NovelAI":
        return None
    values = JsonObject(_json(texts.get("Comment", "")), place, log)
    source = texts.get("Source", "")[:LONGEST_NAME].strip()
    named = _NOVELAI_SOURCE.fullmatch(source)
    found = _told(Generator.NOVELAI, values, negative_prompt="uc", cfg_scale="scale")
    return replace(
        found,
        prompt=found.prompt or texts.get("Description", "")[:LONGEST_TEXT] or None,
        sd_model=(named[1] if named else source) or None,
        sd_model_hash=named[2].lower() if named else None,
    )


def _invokeai(texts: Mapping[str, str], place: str, log: ProblemLog) -> GenerationMetadata | None:
    if "invokeai_metadata" in texts:
        values = JsonObject(_json(texts["invokeai_metadata"]), place, log)
        model_value = values.values.get("model")
        model = JsonObject(model_value if isinstance(model_value, dict) else None, place, log)
        names = {"prompt": "positive_prompt", "sampler": "scheduler"}
        return replace(
            _told(Generator.INVOKEAI, values, **names),
            sd_model=model.name("model_name", "name"),
            sd_model_hash=model.name("hash"),
        )
    if "sd-metadata" in texts:
        return _invokeai_2(JsonObject(_json(texts["sd-metadata"]), place, log))
    if "Dream" in texts:
        return _invokeai_1(texts["Dream"], place, log)
    workflow = _json(texts.get("invokeai_workflow", ""))
    if isinstance(workflow, dict):
        graph = workflow_as_graph(workflow)
        return _graph(Generator.INVOKEAI, graph, place, log, values_of_one_node(graph))
    return None


def _invokeai_2(values: JsonObject) -> GenerationMetadata:
    image = values.nested("image")
    prompts = image.values.get("prompt")
    if isinstance(prompts, list):
        parts = [part.get("prompt") for part in prompts if isinstance(part, dict)]
        text = ", ".join(part for part in parts if isinstance(part, str))
    else:
        text = image.text("prompt") or ""
    prompt, negative = _without_brackets(text[:LONGEST_TEXT])
    return replace(
        _told(Generator.INVOKEAI, image, prompt="", negative_prompt=""),
        prompt=prompt,
        negative_prompt=negative,
        sd_model=values.name("model_weights"),
        sd_model_hash=values.name("model_hash"),
    )


def _invokeai_1(command: str, place: str, log: ProblemLog) -> GenerationMetadata | None:
    """Read a command line: the prompt, then options of which some have a value."""
    try:
        words = shlex.split(command[: 2 * LONGEST_TEXT])
    except ValueError:
        return None
    if not words:
        return None
    options = dict(pairwise(words))
    values = JsonObject(options, place, log)
    prompt, negative = _without_brackets(words[0])
    names = {"seed": "-S", "steps": "-s", "cfg_scale": "-C", "sampler": "-A"}
    names |= {"width": "-W", "height": "-H", "prompt": "", "negative_prompt": ""}
    found = _told(Generator.INVOKEAI, values, **names)
    return replace(found, prompt=prompt, negative_prompt=negative)


def _comfyui(texts: Mapping[str, str], place: str, log: ProblemLog) -> GenerationMetadata | None:
    """Read the graph in `prompt`, or in a field of EXIF that begins with `prompt:`."""
    text = texts.get("prompt", "")
    for name in ("Model", "Make", "ImageDescription", "UserComment"):
        if not text and texts.get(name, "")[:7].lower() == "prompt:":
            text = texts[name][7:]
    graph = _json(text)
    return _graph(Generator.COMFYUI, graph, place, log) if isinstance(graph, dict) else None


def _graph(
    generator: Generator,
    graph: Mapping[str, object],
    place: str,
    log: ProblemLog,
    without_sampler: Mapping[str, object] | None = None,
) -> GenerationMetadata | None:
    """Read a graph, or what it tells without a sampler."""
    found = read_prompt_graph(graph)
    if found is None:
        return None
    for problem in found.problems:
        log.add(_NO_PROMPT, f"{generator}: {problem}", place=place)
    values = JsonObject(found.values or without_sampler, place, log)
    return _told(generator, values, model="model", cfg_scale="cfg", sampler="sampler_name")


def with_size(
    found: GenerationMetadata, width: int | None, height: int | None
) -> GenerationMetadata:
    """Take the image's own size where the generator does not tell the one it was asked for."""
    if found.width is not None and found.height is not None:
        return found
    return replace(found, width=width or None, height=height or None)


def _without_brackets(text: str) -> tuple[str, str | None]:
    """Split a prompt of InvokeAI, whose parts in brackets are the negative one."""
    negative = ", ".join(part.strip() for part in _BRACKETS.findall(text))
    return _BRACKETS.sub("", text).strip(), negative or None


def _size(text: str | None) -> tuple[int | None, int | None]:
    found = _SIZE.fullmatch(text or "")
    if found is None:
        return None, None
    width, height = int(found[1]), int(found[2])
    return (width, height) if 0 < width < 2**31 and 0 < height < 2**31 else (None, None)


def _json(text: str) -> object:
    """Parse a text; None where it is not JSON."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        document: object = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return document
