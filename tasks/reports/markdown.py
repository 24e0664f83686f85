"""A report as Markdown for Prefect."""

from __future__ import annotations

import re

from tasks.reports.report import Bar, Report, Table

# Points and colons are markup only in web addresses, and look better without a backslash.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+|~&!@$^=]|(?<=www)\.|:(?=//))", re.IGNORECASE)

_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_MOST_ROWS = 100
_MOST_PICTURES = 3


def escape(value: str) -> str:
    """A file name or message as Markdown text: nothing in it is read as markup, a link or a line.

    Control characters become blanks.
    """
    return _MARKDOWN.sub(r"\\\1", _NOT_PRINTABLE.sub(" ", value))


def report_markdown(report: Report, link: str = "") -> str:
    """A report as a Markdown page; nothing in names is read as markup.

    `link` is the address of its page in the web application.
    """
    lines = [f"# {escape(report.title)}", ""]
    lines += [f"[See it with its pictures](<{link}>)", ""] if link else []
    for sentence in report.sentences:
        lines += [escape(sentence), ""]
    if report.notes:
        lines += [*(f"- {escape(note)}" for note in report.notes), ""]
    for table in report.tables:
        if table.rows:
            lines += _table(table)
    for picture in report.pictures[:_MOST_PICTURES]:
        lines += [f"**{escape(picture.title)}**", "", f"![overlay]({picture.address})", ""]
    lines += [f"{escape(name.capitalize())}: {escape(path)}  " for name, path in report.places]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    rows, more = table.first(_MOST_ROWS)
    rules = ("---:" if table.has_figures(place) else "---" for place in range(len(table.columns)))
    return [
        f"## {escape(table.title)}",
        "",
        "| " + " | ".join(map(escape, table.columns)) + " |",
        "|" + "|".join(rules) + "|",
        *("| " + " | ".join(map(_cell, row)) + " |" for row in rows),
        "",
        *([f"... and {more} more.", ""] if more else []),
    ]


def _cell(value: str) -> str:
    if isinstance(value, Bar) and value:
        # As code; plain blanks at its ends would be cut off.
        return "`" + value.replace(" ", "\u00a0") + "`"
    return escape(value)
