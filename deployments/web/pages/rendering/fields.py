"""Fields of a form, made from the description of a flow's parameters, and what was filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from storage.errors import InvalidInputError

Schema = Mapping[str, Any]


class FieldKind(StrEnum):
    """How a value is given."""

    TEXT = "text"
    LINES = "lines"
    PAIRS = "pairs"
    INTEGER = "integer"
    NUMBER = "number"
    SWITCH = "switch"
    CHOICE = "choice"
    CHOICES = "choices"


@dataclass(frozen=True)
class Choice:
    """One of the values that there are, and what people know it by."""

    value: str
    name: str


@dataclass(frozen=True)
class Field:
    """A field of a form.

    Attributes:
        name: the path of the parameter, with dots: `generate.tiling.size`.
        default: as it is written into a form; None where leaving it out is the default.
        is_open: whether other values than the choices may be given.
        missing: what to do where there is nothing to choose from.
    """

    name: str
    kind: FieldKind
    help: str = ""
    default: Any = None
    is_required: bool = False
    choices: Sequence[Choice] = ()
    is_open: bool = False
    minimum: float | None = None
    maximum: float | None = None
    missing: str = ""

    @property
    def title(self) -> str:
        """What people read beside it."""
        return self.name.rpartition(".")[2].replace("_", " ")


@dataclass(frozen=True)
class FieldGroup:
    """Fields of one parameter that has parts; "" for the plain ones."""

    name: str
    help: str = ""
    fields: list[Field] = field(default_factory=list)


def groups_of(schema: Schema, real: Mapping[str, Field]) -> list[FieldGroup]:
    """The fields of a flow's parameters; what `real` has stands in the place of a plain field."""
    definitions = schema.get("definitions", {})
    plain = FieldGroup("")
    groups = [plain]
    required = schema.get("required", ())
    for name, found in schema.get("properties", {}).items():
        own = _resolved(found, definitions)
        if "properties" in own:
            default = found.get("default") or {}
            fields = list(_parts(name, own, default, definitions))
            groups.append(FieldGroup(name, _sentence(found), fields))
        elif name in real:
            plain.fields.append(real[name])
        else:
            made = _field(name, own, is_required=name in required)
            plain.fields.append(made)
    return [group for group in groups if group.fields]


def values_of(groups: Sequence[FieldGroup], form: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The parameters of a flow that was filled in; what is left empty is left out.

    Raises:
        InvalidInputError: a number is none, or a pair has no equals sign.
    """
    values: dict[str, Any] = {}
    for one in (own for group in groups for own in group.fields):
        value = _value(one, [text.strip() for text in form.get(one.name, ())])
        if value is None or value == one.default:
            continue
        *parents, last = one.name.split(".")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return values


def _parts(
    prefix: str, schema: Schema, defaults: Mapping[str, Any], definitions: Schema
) -> Iterator[Field]:
    """The fields below a parameter; what is null by default has fields that are empty."""
    for name, found in schema["properties"].items():
        own = _resolved(found, definitions)
        path = f"{prefix}.{name}"
        if "properties" in own:
            yield from _parts(path, own, {}, definitions)
        else:
            shown = {**own, "default": defaults.get(name)}
            yield _field(path, shown, is_required=False)


def _field(name: str, schema: Schema, *, is_required: bool) -> Field:
    kind, choices = _kind(schema)
    least, most = schema.get("minimum"), schema.get("maximum")
    default = schema.get("default")
    if kind is FieldKind.SWITCH:
        default = bool(default)
    return Field(
        name,
        kind,
        help=_sentence(schema),
        default=default if default not in ("", []) else None,
        is_required=is_required,
        choices=[Choice(value, value) for value in choices],
        minimum=least,
        maximum=most,
    )


def _kind(schema: Schema) -> tuple[FieldKind, Sequence[str]]:
    if "enum" in schema:
        return FieldKind.CHOICE, schema["enum"]
    items = schema.get("items", {})
    match schema.get("type"):
        case "boolean":
            return FieldKind.SWITCH, ()
        case "integer":
            return FieldKind.INTEGER, ()
        case "number":
            return FieldKind.NUMBER, ()
        case "array" if "enum" in items:
            return FieldKind.CHOICES, items["enum"]
        case "array":
            return FieldKind.LINES, ()
        case "object":
            return FieldKind.PAIRS, ()
    return FieldKind.TEXT, ()


def _resolved(schema: Schema, definitions: Schema) -> dict[str, Any]:
    """A schema with what it refers to in its place; of something or null, the something."""
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(choices) == 1:
        schema = {**choices[0], **{key: schema[key] for key in schema if key != "anyOf"}}
    referred = schema.get("$ref")
    if referred is not None:
        own = definitions[referred.rpartition("/")[2]]
        schema = {**own, **{key: schema[key] for key in schema if key != "$ref"}}
    if "items" in schema:
        schema = {**schema, "items": _resolved(schema["items"], definitions)}
    return dict(schema)


def _sentence(schema: Schema) -> str:
    return " ".join(str(schema.get("description", "")).split("\n\n")[0].split())


def _value(one: Field, texts: Sequence[str]) -> Any:  # noqa: ANN401 - any JSON value
    filled = [text for text in texts if text]
    if one.kind is FieldKind.SWITCH:
        return bool(filled)
    if not filled:
        return None
    if one.kind is FieldKind.CHOICES:
        return filled
    text = filled[0]
    if one.kind in (FieldKind.LINES, FieldKind.PAIRS):
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines if one.kind is FieldKind.LINES else dict(map(_pair, lines))
    if one.kind in (FieldKind.INTEGER, FieldKind.NUMBER):
        try:
            return int(text) if one.kind is FieldKind.INTEGER else float(text)
        except ValueError:
            raise InvalidInputError(f"{one.title}: {text!r} is not a number.") from None
    return text


def _pair(line: str) -> tuple[str, str]:
    name, equals, value = line.rpartition("=")
    if not equals:
        raise InvalidInputError(f"{line!r} should be NAME=VALUE.")
    return name.strip(), value.strip()
