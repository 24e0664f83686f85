"""Plots as SVG, drawn on the server; their colours are the style sheet's."""

from __future__ import annotations

from collections.abc import Sequence
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
    title: str, values: Sequence[Bar], ends: tuple[str, str] = ("", ""), mark: float | None = None
) -> Markup:
    """Bars beside each other.

    `ends` are written below the first and the last; `mark` is a place of 0 (left) to 1 (right) that
    a line stands at.
    """
    highest = max((bar.value for bar in values), default=0) or 1
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
    told = ", ".join(bar.label for bar in values if bar.value) or "nothing"
    return _plot(title, told, parts, has_links=any(bar.href for bar in values))


def _plot(title: str, told: str, parts: Sequence[Markup], *, has_links: bool) -> Markup:
    number = next(_numbers)
    return Markup(
        '<svg class="plot" viewBox="0 -4 {width} {height}" role="{role}" '
        'aria-labelledby="plot-{n}" aria-describedby="plot-{n}-told">'
        '<title id="plot-{n}">{title}</title><desc id="plot-{n}-told">{told}</desc>{parts}</svg>'
    ).format(
        width=_WIDTH,
        height=_HEIGHT + _FOOT + 4,
        role="group" if has_links else "img",
        n=number,
        title=title,
        told=told,
        parts=Markup("").join(parts),
    )
