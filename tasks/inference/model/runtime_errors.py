"""What a runtime says when a model does not load or run, as a sentence for people."""

from __future__ import annotations

import re

_ONNX = re.compile(r"\[ONNXRuntimeError\] : \d+ : (\w+) : (.*)")
_SIZES = re.compile(r"index: (\d) Got: (\d+) Expected: (\d+)")
_AXES = ("pictures at a time", "channels", "rows", "columns")
# Files and functions of the runtime's own source.
_SOURCE = re.compile(r"^\S*\.(cc|h):\d+ (.*?\) |\S+ )?")
_LONGEST = 300


def runtime_reason(error: BaseException) -> str:
    """The cause in one line, without codes and places in the source of the runtime."""
    text = " ".join(str(error).split()) or type(error).__name__
    found = _ONNX.fullmatch(text)
    if found is None:
        return text[:_LONGEST]
    kind, detail = found.groups()
    if kind == "INVALID_PROTOBUF":
        return "the file is damaged, or no ONNX file"
    if operation := re.search(r"No Op registered for (\w+)", detail):
        return f"it needs the operation {operation[1]}, which this ONNX Runtime does not have"
    if opset := re.search(r"Opset (\d+) is under development", detail):
        return f"its opset {opset[1]} is too new for this ONNX Runtime: export it with a lower one"
    if version := re.search(r"Unsupported model IR version: (\d+)", detail):
        return f"its format (IR version {version[1]}) is too new for this ONNX Runtime"
    if sizes := _SIZES.findall(detail):
        told = ", ".join(
            f"{expected} {_AXES[int(axis)]} and not {got}"
            for axis, got, expected in sizes
            if int(axis) < len(_AXES)
        )
        return f"it takes {told}"
    if layer := re.search(r"running (\w+) node\. Name:'([^']*)' Status Message: (.*)", detail):
        reason = _SOURCE.sub("", layer[3]).rstrip(".")
        return f"its layer {layer[2]} ({layer[1]}) fails: {reason}"[:_LONGEST]
    return _SOURCE.sub("", detail)[:_LONGEST].rstrip(".")
