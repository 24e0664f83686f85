"""Bars made of characters, for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.reports.report import Bar

_HEIGHTS = "▁▂▃▄▅▆▇█"
_FULL, _EMPTY, _EIGHTHS = "█", "░", " ▏▎▍▌▋▊▉"
_SHARE_CELLS = 24
_COMPLETION_CELLS = 10


def histogram_line(counts: Sequence[int]) -> Bar:
    """Counts as a line of bars, the highest count full and blanks for counts of 0.

    The smallest count above 0 shows at least the lowest bar.
    """
    highest = max(counts, default=0)
    return Bar(
        "".join(
            " " if count == 0 else _HEIGHTS[round((len(_HEIGHTS) - 1) * count / highest)]
            for count in counts
        )
    )


def share_bar(share: float) -> Bar:
    """Draw a share of 0..1 in eighths of blocks; every share above 0 shows at least one."""
    eighths = round(share * _SHARE_CELLS * 8)
    if share > 0:
        eighths = max(eighths, 1)
    rest = eighths % 8
    return Bar(_FULL * (eighths // 8) + (_EIGHTHS[rest] if rest else ""))


def completion_bar(percentage: float, cells: int = _COMPLETION_CELLS) -> Bar:
    """A percentage as a bar of `cells` characters, full at 100 and above.

    Anything above 0 shows at least the thinnest stroke, and anything below 100 is not full.
    """
    eighths = int(min(max(percentage, 0.0), 100.0) / 100.0 * cells * 8)
    if percentage > 0:
        eighths = max(eighths, 1)
    whole, part = divmod(eighths, 8)
    bar = _FULL * whole + (_EIGHTHS[part] if part else "")
    return Bar(bar + _EMPTY * (cells - len(bar)))
