"""A report as Markdown for Prefect."""

from __future__ import annotations

import re

from tasks.reports.report import Report

# Points and colons are markup only in web addresses, and look better without a backslash.
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+|~&!@$^=]|(?<=www)\.|:(?=//))", re.IGNORECASE)

_NOT_PRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escape(value: str) -> str:
    """A file name or message as Markdown text: nothing in it is read as markup, a link or a line.

    Control characters become blanks.
    """
    return _MARKDOWN.sub(r"\\\1", _NOT_PRINTABLE.sub(" ", value))


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
