"""The graph of nodes that ComfyUI writes into images.

Any node can stand anywhere in such a graph, so how an image was made can only be told by following
links upwards from the sampler that drew first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.sessions.metadata.comfyui_prompts import (
    LinkedText,
    Node,
    Side,
    is_both,
    linked,
    linked_text,
)

MOST_NODES = 10_000

_LATENT_LINKS = ("latent_image", "latent", "samples")
_SAMPLER_LINKS = (*_LATENT_LINKS, "positive", "conditioning", "guider")
_MODEL_KEYS = ("ckpt_name", "base_ckpt_name", "unet_name", "model_name", "gguf_name", "model")
_SIZE_KEYS = (("width", "height"), ("empty_latent_width", "empty_latent_height"))
_SEED_KEYS = ("seed", "noise_seed")
# Links that lead from a sampler to the nodes that hold its settings, in the newer node sets.
_SETTING_LINKS = ("noise", "guider", "sampler", "sigmas", "seed", "noise_seed", "steps", "cfg")


@dataclass(frozen=True, slots=True)
class PromptGraph:
    """How a graph drew.

    Attributes:
        values: `prompt`, `negative_prompt`, `model`, `seed`, `steps`, `cfg`, `sampler_name`,
            `width`, `height`, each of any type or None; empty where no sampler is known.
        problems: sentences about prompts that are missing.
    """

    values: Mapping[str, object]
    problems: tuple[str, ...]


def read_prompt_graph(graph: Mapping[str, Any]) -> PromptGraph | None:
    """Tell how the first sampler of a graph was set.

    The first sampler is one with no other sampler above it, and of several that with the smallest
    number. A text that would be both prompts is told as the prompt alone.

    Args:
        graph: nodes by number, each with `class_type` and `inputs`; a link to another node is a
            list of its number and of the number of its output.

    Returns:
        None where this is no such graph.
    """
    if len(graph) > MOST_NODES:
        return PromptGraph({}, (f"the graph has {len(graph)} nodes, more than {MOST_NODES}",))
    nodes = {
        str(key): node
        for key, node in graph.items()
        if isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping)
    }
    sampler = _first_sampler(nodes)
    if sampler is None:
        has_kinds = any(isinstance(node.get("class_type"), str) for node in nodes.values())
        return PromptGraph({}, ("the graph has no sampler that is known",)) if has_kinds else None
    inputs = nodes[sampler]["inputs"]
    guider = linked(nodes, inputs.get("guider"))
    around = nodes[guider[0]]["inputs"] if guider else inputs
    both = [value for name, value in inputs.items() if is_both(name)]
    width, height = _size(nodes, [*(inputs.get(name) for name in _LATENT_LINKS), *both])
    values = {
        "model": _model(
            nodes, [around.get("model", around.get("unet", inputs.get("model"))), *both]
        ),
        "seed": _setting(nodes, sampler, _SEED_KEYS),
        "steps": _setting(nodes, sampler, ("steps",)),
        "cfg": _setting(nodes, sampler, ("cfg",)),
        "sampler_name": _setting(nodes, sampler, ("sampler_name",)),
        "width": width,
        "height": height,
    }
    prompt, negative, problems = _prompts(nodes, sampler, around)
    return PromptGraph(values | {"prompt": prompt, "negative_prompt": negative}, problems)


def _prompts(
    nodes: Mapping[str, Node], sampler: str, inputs: Mapping[str, Any]
) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Find both prompts, and what is to be said of them."""
    where = f"the sampler {sampler} ({nodes[sampler].get('class_type')})"
    prompt, negative = (linked_text(nodes, inputs, side) for side in Side)
    problems = []
    if not prompt.is_known:
        problems.append(f"no text leads to the prompt of {where}{_ends(prompt)}")
    # Many samplers take no negative prompt, or get one without a text in it.
    if negative.ends and not negative.is_known:
        problems.append(f"no text leads to the negative prompt of {where}{_ends(negative)}")
    # A blank prompt is one, too.
    wanted = prompt.text or ("" if prompt.is_known else None)
    unwanted = negative.text
    if unwanted is not None and unwanted == prompt.text:
        problems.append(f"one text is both prompts of {where}: it is told as the prompt alone")
        unwanted = None
    return wanted, unwanted, tuple(problems)


def _ends(found: LinkedText) -> str:
    return f"; the links end at {', '.join(found.ends)}" if found.ends else ""


def _first_sampler(nodes: Mapping[str, Node]) -> str | None:
    samplers = sorted((key for key in nodes if _is_sampler(nodes[key])), key=_order)
    users = defaultdict(list)
    for key, node in nodes.items():
        for value in node["inputs"].values():
            found = linked(nodes, value)
            if found is not None:
                users[found[0]].append(key)
    below: set[str] = set()
    waiting = list(samplers)
    while waiting:
        new = set(users.pop(waiting.pop(), ())) - below
        below |= new
        waiting += new
    return next((key for key in samplers if key not in below), samplers[0] if samplers else None)


def _is_sampler(node: Node) -> bool:
    inputs = node["inputs"]
    has_settings = any(key in inputs for key in (*_SEED_KEYS, "noise"))
    return has_settings and any(
        isinstance(value, list) and (name in _SAMPLER_LINKS or is_both(name))
        for name, value in inputs.items()
    )


def _order(key: str) -> tuple[int, str]:
    return (int(key) if key.isascii() and key.isdigit() and len(key) < 10 else 10**9, key)


def _upwards(nodes: Mapping[str, Node], starts: Iterable[object]) -> Iterator[str]:
    """Yield the nodes above some inputs, nearest first, each once."""
    waiting = [found[0] for found in (linked(nodes, value) for value in starts) if found]
    seen = set(waiting)
    while waiting:
        below: list[str] = []
        for key in waiting:
            yield key
            for value in nodes[key]["inputs"].values():
                other = linked(nodes, value)
                if other is not None and other[0] not in seen:
                    seen.add(other[0])
                    below.append(other[0])
        waiting = below


def _model(nodes: Mapping[str, Node], links: Iterable[object]) -> object:
    for key in _upwards(nodes, links):
        for name in _MODEL_KEYS:
            value = nodes[key]["inputs"].get(name)
            # Some nodes have more than the name there.
            if isinstance(value, Mapping):
                value = value.get("content", value.get("name"))
            if isinstance(value, str):
                return value
    return None


def _setting(nodes: Mapping[str, Node], sampler: str, names: tuple[str, ...]) -> object:
    """Take a setting of a sampler itself, or of the nodes that hold its settings."""
    waiting, seen = [sampler], {sampler}
    while waiting:
        inputs = nodes[waiting.pop(0)]["inputs"]
        for name in (*names, "value") if len(seen) > 1 else names:
            value = inputs.get(name)
            if value is not None and not isinstance(value, list):
                return value
        for link in (*names, *_SETTING_LINKS):
            found = linked(nodes, inputs.get(link))
            if found is not None and found[0] not in seen:
                seen.add(found[0])
                waiting.append(found[0])
    return None


def _size(nodes: Mapping[str, Node], links: Iterable[object]) -> tuple[object, object]:
    """Take the size of the empty image that the sampler starts from."""
    for key in _upwards(nodes, links):
        for names in _SIZE_KEYS:
            width, height = (nodes[key]["inputs"].get(name) for name in names)
            if isinstance(width, int) and isinstance(height, int):
                return width, height
    return None, None
