"""The graph of nodes that ComfyUI writes into images.

Any node can stand anywhere in such a graph, so what "the prompt" is can only be told by following
links upwards from the sampler that drew first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]

MOST_NODES = 10_000
_LONGEST_JOINED = 200_000

_SAMPLER_LINKS = ("latent_image", "latent", "samples", "positive", "guider")
_MODEL_KEYS = ("ckpt_name", "unet_name", "model_name", "gguf_name")
_TEXT_KEYS = ("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt", "string", "value")
_SEED_KEYS = ("seed", "noise_seed")
# Links that lead from a sampler to the nodes that hold its settings, in the newer node sets.
_SETTING_LINKS = ("noise", "guider", "sampler", "sigmas", "seed", "noise_seed", "steps", "cfg")


def read_prompt_graph(graph: Mapping[str, Any]) -> dict[str, object] | None:
    """Tell how the first sampler of a graph was set.

    The first sampler is one with no other sampler above it, and of several that with the smallest
    number.

    Args:
        graph: nodes by number, each with `class_type` and `inputs`; a link to another node is a
            list of its number and of its output.

    Returns:
        `prompt`, `negative_prompt`, `model`, `seed`, `steps`, `cfg`, `sampler_name`, `width`,
        `height`, each of any type or None; None where the graph has no sampler.
    """
    if len(graph) > MOST_NODES:
        return None
    nodes = {
        str(key): node
        for key, node in graph.items()
        if isinstance(node, Mapping) and isinstance(node.get("inputs"), Mapping)
    }
    sampler = _first_sampler(nodes)
    if sampler is None:
        return None
    inputs = nodes[sampler]["inputs"]
    guider = _linked(nodes, inputs.get("guider"))
    around = nodes[guider]["inputs"] if guider else inputs
    positive = around.get("positive", around.get("conditioning"))
    model = around.get("model", inputs.get("model"))
    width, height = _size(nodes, inputs)
    return {
        "prompt": _texts(nodes, positive),
        "negative_prompt": _texts(nodes, around.get("negative")),
        "model": _first_value(nodes, model, _MODEL_KEYS),
        "seed": _setting(nodes, sampler, _SEED_KEYS),
        "steps": _setting(nodes, sampler, ("steps",)),
        "cfg": _setting(nodes, sampler, ("cfg",)),
        "sampler_name": _setting(nodes, sampler, ("sampler_name",)),
        "width": width,
        "height": height,
    }


def _first_sampler(nodes: Mapping[str, Node]) -> str | None:
    samplers = sorted((key for key in nodes if _is_sampler(nodes[key])), key=_order)
    for key in samplers:
        above = _upwards(nodes, nodes[key]["inputs"].values())
        if not any(_is_sampler(nodes[other]) for other in above if other != key):
            return key
    return samplers[0] if samplers else None


def _is_sampler(node: Node) -> bool:
    inputs = node["inputs"]
    has_settings = any(key in inputs for key in (*_SEED_KEYS, "noise"))
    return has_settings and any(_is_link(inputs.get(key)) for key in _SAMPLER_LINKS)


def _order(key: str) -> tuple[int, str]:
    return (int(key) if key.isascii() and key.isdigit() and len(key) < 10 else 10**9, key)


def _is_link(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)


def _linked(nodes: Mapping[str, Node], value: object) -> str | None:
    """Return the node that a link leads to."""
    if not isinstance(value, list) or not _is_link(value):
        return None
    key = str(value[0])
    return key if key in nodes else None


def _upwards(nodes: Mapping[str, Node], starts: Any) -> Iterator[str]:  # noqa: ANN401
    """Yield the nodes above some inputs, nearest first, each once."""
    waiting = [key for key in (_linked(nodes, value) for value in starts) if key]
    seen = set(waiting)
    while waiting:
        below: list[str] = []
        for key in waiting:
            yield key
            for value in nodes[key]["inputs"].values():
                other = _linked(nodes, value)
                if other is not None and other not in seen:
                    seen.add(other)
                    below.append(other)
        waiting = below


def _texts(nodes: Mapping[str, Node], link: object) -> str | None:
    """Join the texts of the encoders above a link; several are joined by line ends."""
    texts: list[str] = []
    length = 0
    for key in _upwards(nodes, [link]):
        inputs = nodes[key]["inputs"]
        for name in _TEXT_KEYS:
            text = inputs.get(name)
            # Models and samplers above a prompt's encoder have no texts under these names.
            if isinstance(text, str) and text.strip() and text.strip() not in texts:
                texts.append(text.strip())
                length += len(text)
        if length > _LONGEST_JOINED:
            break
    return "\n".join(texts) or None


def _first_value(nodes: Mapping[str, Node], link: object, names: tuple[str, ...]) -> object:
    for key in _upwards(nodes, [link]):
        for name in names:
            value = nodes[key]["inputs"].get(name)
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
            if value is not None and not _is_link(value):
                return value
        for link in (*names, *_SETTING_LINKS):
            key = _linked(nodes, inputs.get(link))
            if key is not None and key not in seen:
                seen.add(key)
                waiting.append(key)
    return None


def _size(nodes: Mapping[str, Node], inputs: Mapping[str, Any]) -> tuple[object, object]:
    """Take the size of the empty image that the sampler starts from."""
    starts = [inputs.get(name) for name in ("latent_image", "latent", "samples")]
    for key in _upwards(nodes, starts):
        found = nodes[key]["inputs"]
        width, height = found.get("width"), found.get("height")
        if isinstance(width, int) and isinstance(height, int):
            return width, height
    return None, None
