"""The prompt and the negative prompt of a sampler in a graph of ComfyUI.

A link names a node and the number of its output. Only that number tells whether what comes out of
a node with two prompts is the one or the other, so it is followed link by link: output 0 of a node
that takes `positive` and `negative` goes on at `positive`, output 1 at `negative`; nodes that count
otherwise are listed, and where a node gives both in one output, the side stays what it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Node = Mapping[str, Any]
Inputs = Mapping[str, Any]

_LONGEST_JOINED = 200_000
_SHOWN_ENDS = 3


class Side(StrEnum):
    """Which of the two prompts."""

    POSITIVE = "positive"
    NEGATIVE = "negative"


@dataclass(frozen=True, slots=True)
class LinkedText:
    """What the nodes above an input say.

    Attributes:
        text: the texts in the order of the inputs, joined as the nodes on the way join them, else
            by line ends; None where there is none.
        is_known: a text was found, be it blank, or a node that takes all text away.
        ends: the nodes without a text at which the search ended, a few of them, for a message.
    """

    text: str | None
    is_known: bool
    ends: tuple[str, ...]


_WITHOUT_TEXT = frozenset(["ConditioningZeroOut", "ImpactNegativeConditioningPlaceholder"])

# Which prompt an output gives, by its number.
_OUTPUTS: Mapping[str, Mapping[int, Side]] = {
    kind: {
        **dict.fromkeys(range(first, first + count), Side.POSITIVE),
        **dict.fromkeys(range(first + count, first + 2 * count), Side.NEGATIVE),
    }
    for first, count, kinds in (
        (0, 3, ("SDXLPromptStylerAdvanced",)),
        (1, 1, ("Efficient Loader", "KSampler (Efficient)", "KSampler Adv. (Efficient)")),
        (1, 1, ("easy controlnetLoader", "easy controlnetLoaderADV", "easy controlnetLoader++")),
        (2, 1, ("ttN pipeLoader", "ttN pipeLoader_v2", "easy pipeOut", "easy pipeEdit")),
        (2, 1, ("easy loraPromptApply", "easy instantIDApply", "easy instantIDApplyADV")),
        (3, 1, ("FromBasicPipe", "FromDetailerPipe", "easy fullkSampler")),
        (4, 1, ("FromBasicPipe_v2", "FromDetailerPipe_v2", "easy fullLoader", "easy comfyLoader")),
        (4, 1, ("Context (rgthree)", "Context Big (rgthree)", "Context Switch (rgthree)")),
    )
    for kind in kinds
}

_SIDES = {
    Side.POSITIVE: re.compile(r"(?:.*[_ ])?pos(?:itive)?\d*(?:[_ ].*)?", re.IGNORECASE),
    Side.NEGATIVE: re.compile(r"(?:.*[_ ])?neg(?:ative)?\d*(?:[_ ].*)?", re.IGNORECASE),
}
# One link that carries both prompts, beside a model and more.
_BOTH = re.compile(r"(?:.*_)?(?:pipe|ctx|context|tuple|text_embeds|bus)(?:_?\d+)?", re.IGNORECASE)
_CONDITIONING = re.compile(r".*cond.*|.*text.*|.*prompt.*", re.IGNORECASE)
_TEXT = re.compile(
    r"(?:.*[_ ])?(?:text|prompt|string)(?:[_ ]?(?:[a-d]|g|l|\d{1,2}))?"
    r"|clip_[lg]|t5xxl|llama|bert|mt5xl|value|tags|lyrics",
    re.IGNORECASE,
)
# Inputs whose links lead to no prompt: what is drawn with and on, names, numbers, and the like.
_NO_TEXT = re.compile(
    r"(?:.*_)?(?:model|clip|clip_vision.*|vae|image.*|pixels|masks?|control_?net|latents?|samples"
    r"|sampler|scheduler|sigmas|noise|guider|seed|width|height|steps|cfg|strength|stack|loras?"
    r"|name|style|styles|prefix|mode|delimiter|separator|find|replace|action|script|ascore"
    r"|system_prompt|log_prompt|empty_conditioning)\d*",
    re.IGNORECASE,
)
# What came out of a node, kept beside what went in.
_FILLED = {"populated_text": ("wildcard_text", "text"), "text_0": ("text",)}
_JOINERS = ("delimiter", "separator")


def is_both(name: str) -> bool:
    """Whether an input of this name takes a link that carries both prompts."""
    return _BOTH.fullmatch(name) is not None


def linked(nodes: Mapping[str, Node], value: object) -> tuple[str, object] | None:
    """Return the node that a link leads to, and the number of its output."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int):
        key = str(value[0])
        return (key, value[1]) if key in nodes else None
    return None


def linked_text(nodes: Mapping[str, Node], inputs: Inputs, side: Side) -> LinkedText:
    """Find one of the prompts of a sampler, or of the guider that leads it.

    Args:
        nodes: all nodes, each with `inputs`.
        inputs: those of the sampler.
        side: which prompt.
    """
    texts: list[str] = []
    known: set[str] = set()
    ends: list[str] = []
    is_known = False
    length = 0
    seen: set[tuple[str, Side]] = set()
    outputs: dict[str, Mapping[int, Side]] = {}
    # Inputs that wait, the next one last: what joins it to the text before, side, name and value.
    waiting = [("\n", side, name, value) for name, value in _of_sampler(inputs, side)][::-1]
    while waiting and length <= _LONGEST_JOINED:
        joiner, side, name, value = waiting.pop()
        if isinstance(value, str):
            is_known = True
            text = value.strip()
            # Encoders take one text twice, for their two models.
            if text and not (joiner == "\n" and text in known):
                known.add(text)
                texts += [joiner, text] if texts else [text]
                length += len(text)
            continue
        target = linked(nodes, value)
        if target is None:
            continue
        key, output = target
        node = nodes[key]
        if node.get("class_type") in _WITHOUT_TEXT:
            is_known = True
            continue
        if not is_both(name):
            if key not in outputs:
                outputs[key] = _sides_of_outputs(node)
            side = outputs[key].get(output, side) if isinstance(output, int) else side
        if (key, side) in seen:
            continue
        seen.add((key, side))
        above = _of_side(node["inputs"], side)
        if not above and len(ends) < _SHOWN_ENDS:
            ends.append(f"{key} ({node.get('class_type')})"[:100])
        own = next((node["inputs"][key] for key in _JOINERS if key in node["inputs"]), None)
        between = own if isinstance(own, str) else "\n"
        following = [(between, side, *item) for item in above]
        if following:
            following[0] = (joiner, *following[0][1:])
        waiting += reversed(following)
    return LinkedText("".join(texts) or None, is_known, tuple(ends))


def _of_sampler(inputs: Inputs, side: Side) -> list[tuple[str, object]]:
    """Choose the inputs of a sampler that lead to one of its prompts."""
    found = _of_side(inputs, side)
    if any(_side_of_name(name) is not None for name, _ in found):
        return found
    wanted = _CONDITIONING if side == Side.POSITIVE else _BOTH
    return [item for item in found if is_both(item[0]) or wanted.fullmatch(item[0])]


def _of_side(inputs: Inputs, side: Side) -> list[tuple[str, object]]:
    """Choose the inputs, by name and value, that lead to texts of one side.

    Those named for the side, else those named for none; beside a prompt without a word to its name,
    a negative one must be named, or come in a link that carries both.
    """
    items = _chosen(inputs, [item for item in inputs.items() if _is_text(*item)])
    own = [item for item in items if _side_of_name(item[0]) == side]
    if own:
        return own
    neutral = [item for item in items if _side_of_name(item[0]) is None]
    if side == Side.NEGATIVE and len(neutral) < len(items):
        return [item for item in neutral if is_both(item[0])]
    return neutral


def _is_text(name: str, value: object) -> bool:
    """Whether an input holds a text of a prompt, or leads to one."""
    if _NO_TEXT.fullmatch(name):
        return False
    if isinstance(value, str):
        return bool(_TEXT.fullmatch(name) or _side_of_name(name))
    return isinstance(value, list)


def _chosen(inputs: Inputs, items: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """Leave out what a switch does not pass on, and templates whose filled form is there."""
    number = inputs.get("select", inputs.get("Input"))
    if isinstance(number, int) and any(name.endswith(str(number)) for name, _ in items):
        return [item for item in items if item[0].endswith(str(number))]
    for filled, templates in _FILLED.items():
        if inputs.get(filled):
            return [item for item in items if item[0] not in templates]
    return items


def _side_of_name(name: str) -> Side | None:
    return next((side for side, pattern in _SIDES.items() if pattern.fullmatch(name)), None)


def _sides_of_outputs(node: Node) -> Mapping[int, Side]:
    """Tell which prompt the outputs of a node give; one that is not named gives what is wanted."""
    listed = _OUTPUTS.get(str(node.get("class_type")))
    if listed is not None:
        return listed
    inputs = node["inputs"]
    names = [name for name in inputs if _is_text(name, inputs[name]) and not is_both(name)]
    sides = {_side_of_name(name) for name in names}
    only = next(iter(sides), None) if len(sides) == 1 else None
    if only is not None:
        return {0: only}
    # Loaders give their models first, in numbers of their own.
    if Side.NEGATIVE in sides and not any("_name" in name for name in inputs):
        return {0: Side.POSITIVE, 1: Side.NEGATIVE}
    return {}
