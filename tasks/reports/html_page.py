"""A report as one HTML page that needs no other file."""

from __future__ import annotations

import html

from tasks.reports.report import Bar, Report, Table

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
"""


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
    parts += [
        f'<figure><img src="{picture.address}" alt="{quote(picture.title)}">'
        f"<figcaption>{quote(picture.title)}</figcaption></figure>"
        for picture in report.pictures
    ]
    parts += [
        f'<p class="small">{quote(name)}: <code>{quote(path)}</code></p>'
        for name, path in report.places
    ]
    return "\n".join([*parts, "</body></html>", ""])


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
