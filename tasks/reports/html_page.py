"""A report as one HTML page that needs no other file."""

from __future__ import annotations

import html

from tasks.reports.report import Bar, Picture, Report, Shape, Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #ddd;
         overflow-wrap: anywhere }
td.number { text-align: right; font-variant-numeric: tabular-nums }
td.bar { white-space: pre; font-family: monospace }
figure { display: inline-block; margin: 0 1rem 1rem 0; max-width: 32rem; vertical-align: top }
figure img { max-width: 100%; border-radius: 4px }
figcaption { color: #555 }
.small { color: #555 }
figure svg { max-width: 100%; height: auto; border-radius: 4px }
.shapes path { fill-opacity: .3; stroke-width: 2; vector-effect: non-scaling-stroke }
.shapes text { display: none; font: 600 13px system-ui, sans-serif; fill: #fff; stroke: #000;
               stroke-width: 3px; paint-order: stroke }
.named text, .shapes g:hover text { display: block }
"""
# Of more the names would lie on each other: they are shown one at a time.
_MOST_NAMES = 15


def report_html(report: Report) -> str:
    """A report as a page that needs no other file and no network."""
    quote = html.escape
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{quote(report.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{quote(report.title)}</h1>",
        *(f"<p>{quote(sentence)}</p>" for sentence in report.sentences),
    ]
    if report.notes:
        parts += ["<ul>", *(f"<li>{quote(note)}</li>" for note in report.notes), "</ul>"]
    for table in report.tables:
        if table.rows:
            parts += _html_table(table)
    parts += map(_html_picture, report.pictures)
    parts += [
        f'<p class="small">{quote(name)}: <code>{quote(path)}</code></p>'
        for name, path in report.places
    ]
    return "\n".join([*parts, "</body></html>", ""])


def _html_picture(picture: Picture) -> str:
    title, drawing = html.escape(picture.title), picture.drawing
    if drawing is None:
        shown = f'<img src="{picture.address}" alt="{title}">'
    else:
        kind = "shapes" if len(drawing.shapes) > _MOST_NAMES else "shapes named"
        size = f'width="{drawing.width}" height="{drawing.height}"'
        shown = (
            f'<svg viewBox="0 0 {drawing.width} {drawing.height}" {size} role="img" '
            f'aria-label="{title}"><image href="{drawing.address}" {size}/>'
            f'<g class="{kind}">{"".join(map(_html_shape, drawing.shapes))}</g></svg>'
        )
    return f"<figure>{shown}<figcaption>{title}</figcaption></figure>"


def _html_shape(shape: Shape) -> str:
    name = html.escape(shape.name)
    points = [point for outline in shape.outlines for point in outline]
    left, top = min(x for x, _ in points), min(y for _, y in points)
    path = "".join(
        "M" + " ".join(f"{x:.1f} {y:.1f}" for x, y in outline) + "Z" for outline in shape.outlines
    )
    return (
        f'<g><title>{name}</title><path fill-rule="evenodd" fill="{shape.colour}" '
        f'stroke="{shape.colour}" d="{path}"/>'
        f'<text x="{left:.1f}" y="{top:.1f}" dy="1em">{name}</text></g>'
    )


def _html_table(table: Table) -> list[str]:
    has_figures = [table.has_figures(place) for place in range(len(table.columns))]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    lines = [f"<h2>{html.escape(table.title)}</h2>", f"<table><tr>{head}</tr>"]
    for row in table.rows:
        cells = map(_cell, row, has_figures)
        lines.append(f"<tr>{''.join(cells)}</tr>")
    _, more = table.first(None)
    return [*lines, "</table>", *([f'<p class="small">... and {more} more.</p>'] if more else [])]


def _cell(value: str, is_figure: bool) -> str:
    kind = "bar" if isinstance(value, Bar) else "number" if is_figure else None
    opening = "<td>" if kind is None else f'<td class="{kind}">'
    return f"{opening}{html.escape(value)}</td>"
