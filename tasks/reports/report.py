"""A run of inference as Markdown for Prefect, and as a page of its own with pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.quality.report import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; background: #fff }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #ddd }
td.number { text-align: right; font-variant-numeric: tabular-nums }
figure { display: inline-block; margin: 0 1rem 1rem 0; max-width: 32rem; vertical-align: top }
figure img { max-width: 100%; border-radius: 4px }
figcaption { color: #555 }
.small { color: #555 }
"""


@dataclass(frozen=True)
class Picture:
    """A picture of a report: a title, and a JPEG."""

    title: str
    jpeg: bytes

    @property
    def address(self) -> str:
        """The picture itself as an address, so that a page needs no other file."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode()


@dataclass(frozen=True)
class Table:
    """A table of a report; all but the first column are numbers where `is_numeric`."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    is_numeric: bool = True


@dataclass(frozen=True)
class Report:
    """What is told of a run or of a comparison.

    Attributes:
        title: one line.
        sentences: below it, one line each.
        tables: those without rows are left out.
        pictures: at the end.
        places: name and path of files to look at.
    """

    title: str
    sentences: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture] = ()
    places: Sequence[tuple[str, str]] = ()


def report_markdown(report: Report, *, most_pictures: int = 3) -> str:
    """A report as a Markdown page; nothing in names is read as markup."""
    lines = [f"# {escape(report.title)}", ""]
    for sentence in report.sentences:
        lines += [escape(sentence), ""]
    for table in report.tables:
        if not table.rows:
            continue
        align = "---:" if table.is_numeric else "---"
        lines += [
            f"## {escape(table.title)}",
            "",
            "| " + " | ".join(map(escape, table.columns)) + " |",
            "|---|" + f"{align}|" * (len(table.columns) - 1),
            *("| " + " | ".join(map(escape, row)) + " |" for row in table.rows),
            "",
        ]
    for picture in report.pictures[:most_pictures]:
        lines += [f"**{escape(picture.title)}**", "", f"![overlay]({picture.address})", ""]
    lines += [f"{escape(name)}: {escape(path)}  " for name, path in report.places]
    return "\n".join(lines) + "\n"


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
    kind = ' class="number"' if table.is_numeric else ""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.columns)
    lines = [f"<h2>{html.escape(table.title)}</h2>", f"<table><tr>{head}</tr>"]
    for first, *others in table.rows:
        cells = "".join(f"<td{kind}>{html.escape(value)}</td>" for value in others)
        lines.append(f"<tr><td>{html.escape(first)}</td>{cells}</tr>")
    return [*lines, "</table>"]
