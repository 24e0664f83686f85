"""Plots as SVG, drawn on the server; their colours are the style sheet's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from markupsafe import Markup

_WIDTH, _HEIGHT, _FOOT, _GAP = 240, 84, 16, 2
_SMALLEST = 1.5
_numbers = count(1)


@dataclass(frozen=True)
class Bar:
    """One bar: what it counts, in words for people who do not see it, and where it leads."""

    label: str
    value: float
    href: str | None = None


def bars(
    title: str,
    values: Sequence[Bar],
    ends: tuple[str, str] = ("", ""),
    mark: float | None = None,
    over: Sequence[float] = (),
) -> Markup:
    """Bars beside each other.

    `ends` are written below the first and the last; `mark` is a place of 0 (left) to 1 (right) that
    a line stands at; `over` are heights that a line over the bars goes through, one for each.
    """
    highest = max((*(bar.value for bar in values), *over), default=0) or 1
    step = _WIDTH / max(len(values), 1)
    parts = []
    for place, bar in enumerate(values):
        height = max(bar.value / highest * _HEIGHT, _SMALLEST) if bar.value else 0
        shape = Markup(
            '<rect class="hit" x="{x:.1f}" y="0" width="{full:.1f}" height="{all}"/>'
            '<rect class="bar" x="{left:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
            ' rx="1"/><title>{label}</title>'
        ).format(
            x=place * step,
            full=step,
            all=_HEIGHT,
            left=place * step + _GAP / 2,
            y=_HEIGHT - height,
            width=max(step - _GAP, 1),
            height=height,
            label=bar.label,
        )
        if bar.href is not None and bar.value:
            shape = Markup('<a href="{}" aria-label="{}">{}</a>').format(bar.href, bar.label, shape)
        else:
            shape = Markup("<g>{}</g>").format(shape)
        parts.append(shape)
    if over:
        corners = " ".join(
            f"{place * step:.1f},{y:.1f} {(place + 1) * step:.1f},{y:.1f}"
            for place, y in enumerate(_HEIGHT - value / highest * _HEIGHT for value in over)
        )
        parts.append(Markup('<polyline class="over" points="{}"/>').format(corners))
    if mark is not None:
        parts.append(
            Markup('<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="-4" y2="{y}"/>').format(
                x=min(max(mark, 0), 1) * _WIDTH, y=_HEIGHT
            )
        )
    parts.append(
        Markup(
            '<line class="axis" x1="0" x2="{w}" y1="{h}" y2="{h}"/><text x="0" y="{t}">{a}</text>'
            '<text x="{w}" y="{t}" text-anchor="end">{b}</text>'
        ).format(w=_WIDTH, h=_HEIGHT, t=_HEIGHT + _FOOT - 3, a=ends[0], b=ends[1])
    )
    heights = [*over, *[0.0] * (len(values) - len(over))]
    told = ", ".join(
        bar.label for bar, height in zip(values, heights, strict=True) if bar.value or height
    )
    told = told or "nothing"
    return _plot(title, told, parts, has_links=any(bar.href for bar in values))


@dataclass(frozen=True)
class Line:
    """A line over 0 to 1: its name, its colour, and its heights at equal steps."""

    label: str
    colour: str
    values: Sequence[float]


def steps(
    title: str,
    lines: Sequence[Line],
    mark: float,
    *,
    unknown_to: float = 0.0,
    digits: int = 0,
) -> Markup:
    """Lines that go down in steps from 0 (left) to 1 (right), over one scale from 0.

    `mark` is a place of 0 to 1 that a line stands at, which scripts may move; what lies left of
    `unknown_to` is shaded.
    """
    width, height = 3 * _WIDTH, 2 * _HEIGHT
    highest = max((max(line.values) for line in lines), default=0) or 1
    parts = []
    if unknown_to > 0:
        parts.append(
            Markup('<rect class="unknown" x="0" y="0" width="{:.1f}" height="{}"/>').format(
                unknown_to * width, height
            )
        )
    for line in lines:
        parts.append(
            Markup(
                '<polyline class="line" stroke="{}" points="{}"><title>{}</title></polyline>'
            ).format(
                line.colour, _corners(line.values, width, height / highest, height), line.label
            )
        )
    parts.append(
        Markup(
            '<line class="mark" data-mark="" x1="{x:.1f}" x2="{x:.1f}" y1="-4" y2="{h}"/>'
            '<line class="axis" x1="0" x2="{w}" y1="{h}" y2="{h}"/>'
            '<text x="0" y="{t}">0</text><text x="{w}" y="{t}" text-anchor="end">1</text>'
            '<text x="{w}" y="8" text-anchor="end">{most}</text>'
        ).format(
            x=mark * width,
            w=width,
            h=height,
            t=height + _FOOT - 3,
            most=f"{highest:,.{digits}f}",
        )
    )
    told = "; ".join(
        f"{line.label}: {line.values[0]:,.{digits}f} at 0, "
        f"{line.values[len(line.values) // 2]:,.{digits}f} at 0.5, "
        f"{line.values[-1]:,.{digits}f} at 1"
        for line in lines
    )
    return _plot(title, told, parts, has_links=False, size=(width, height))


def scatter(title: str, points: Mapping[tuple[int, int], int]) -> Markup:
    """How often each pair of counts (to the right, upwards) occurs, with the line of equal ones."""
    size = 2 * _HEIGHT
    most = max((value for pair in points for value in pair), default=0) or 1
    scale = size / most
    parts = [
        Markup('<line class="axis" x1="0" x2="{s}" y1="{s}" y2="0"/>').format(s=size),
        Markup('<line class="axis" x1="0" x2="{s}" y1="{s}" y2="{s}"/>').format(s=size),
        Markup('<line class="axis" x1="0" x2="0" y1="0" y2="{s}"/>').format(s=size),
    ]
    highest = max(points.values(), default=1)
    for (right, up), times in sorted(points.items()):
        label = f"{right} labelled, {up} counted: {times} image{'' if times == 1 else 's'}"
        parts.append(
            Markup(
                '<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"><title>{label}</title>'
                "</circle>"
            ).format(
                x=right * scale,
                y=size - up * scale,
                r=2 + 4 * math.sqrt(times / highest),
                label=label,
            )
        )
    parts.append(
        Markup(
            '<text x="0" y="{t}">0</text><text x="{s}" y="{t}" text-anchor="end">{most}</text>'
        ).format(s=size, t=size + _FOOT - 3, most=most)
    )
    images = sum(points.values())
    equal = sum(times for (right, up), times in points.items() if right == up)
    told = f"{images} images, {equal} of them counted exactly"
    return _plot(title, told, parts, has_links=False, size=(size, size))


def _corners(values: Sequence[float], width: float, scale: float, height: float) -> str:
    """The corners of a line of steps; where it stays level there are none."""
    last = len(values) - 1
    corners = []
    for place, value in enumerate(values):
        if 0 < place < last and value == values[place - 1]:
            continue
        x = place / last * width
        if place:
            corners.append(f"{x:.1f},{height - values[place - 1] * scale:.1f}")
        corners.append(f"{x:.1f},{height - value * scale:.1f}")
    return " ".join(corners)


def _plot(
    title: str,
    told: str,
    parts: Sequence[Markup],
    *,
    has_links: bool,
    size: tuple[int, int] = (_WIDTH, _HEIGHT),
) -> Markup:
    number = next(_numbers)
    return Markup(
        '<svg class="plot" viewBox="0 -4 {width} {height}" role="{role}" '
        'aria-labelledby="plot-{n}" aria-describedby="plot-{n}-told">'
        '<title id="plot-{n}">{title}</title><desc id="plot-{n}-told">{told}</desc>{parts}</svg>'
    ).format(
        width=size[0],
        height=size[1] + _FOOT + 4,
        role="group" if has_links else "img",
        n=number,
        title=title,
        told=told,
        parts=Markup("").join(parts),
    )
