"""The report: names are never read as Markdown, figures are in their places."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from prefect.client.schemas.actions import ArtifactCreate

from tasks.quality.report import quality_report
from tasks.reports.charts import histogram_line
from tasks.reports.keys import artifact_key
from tasks.reports.markdown import escape, report_markdown

EMPTY = {
    "images": 0,
    "completed": 0,
    "failed": 0,
    "mean_overall_quality": None,
    "issues": {},
    "histograms": {"sharpness": [0] * 10},
    "worst": [],
    "failures": [],
    "kept_count": 0,
    "kept": [],
    "duplicate_groups": {},
    "duplicate_group_sizes": {},
    "duplicate_group_count": 0,
}
MEASURES = {
    "sharpness": 0.5,
    "focus": None,
    "brightness": 0.25,
    "contrast": 1.0,
    "uniqueness": 0.125,
}


def markdown(project, overview=EMPTY, counts=(0, 0), snapshot="/snapshots/x.parquet"):
    return report_markdown(quality_report(project, overview, counts, snapshot))


def unescaped(markdown):
    """Text as CommonMark shows it: a backslash before punctuation vanishes."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", markdown)


@pytest.mark.parametrize(
    "name",
    [
        "*bold*.jpg",
        "_under_score_.jpg",
        "`code`.jpg",
        "[link](https://example.org).jpg",
        "![picture](x).jpg",
        "<script>alert(1)</script>.jpg",
        "&lt;b&gt;.jpg",
        "# heading.jpg",
        "a|b.jpg",
        "back\\slash\\*.jpg",
        "~~struck~~.jpg",
        "$x^2$.jpg",
        "mail@example.org.jpg",
    ],
)
def test_what_markdown_would_read_is_escaped_and_shown_as_it_is(name):
    escaped = escape(name)
    assert unescaped(escaped) == name
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", escaped)
    assert not re.search(r"[\\`*_{}\[\]<>()#|~&!$@^]|://", bare)


@pytest.mark.parametrize("name", ["www.example.org", "WWW.example.org"])
def test_a_name_like_a_web_address_becomes_no_link(name):
    assert "www." not in escape(name).lower()
    assert unescaped(escape(name)) == name


def test_plain_names_stay_readable():
    assert escape("IMG-0001 (copy), 2nd.JPG") == "IMG-0001 \\(copy\\), 2nd.JPG"
    assert escape("Möwe 🐦/été.jpg") == "Möwe 🐦/été.jpg"


@given(st.text(alphabet=st.characters(), max_size=30))
def test_no_text_breaks_a_line_or_a_cell(value):
    escaped = escape(value)
    assert len(escaped.splitlines()) <= 1
    assert not re.search(r"(?<!\\)(\\\\)*\|", escaped)
    assert html.unescape(escaped) == escaped
    escaped.encode("utf-8")


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ([], ""),
        ([0, 0, 0], "   "),
        ([1], "█"),
        ([0, 1, 1000, 0], " ▁█ "),
        ([7, 0, 14], "▅ █"),
        ([1, 2, 3, 4, 5, 6, 7, 8], "▂▃▄▅▅▆▇█"),
    ],
)
def test_histograms_by_hand(counts, line):
    assert histogram_line(counts) == line


def test_the_summary_of_an_empty_project():
    summary = markdown("p")
    assert "# Quality of p" in summary
    assert "p has 0 images, 0 measured, 0 failed; mean overall quality –." in summary
    assert "No issue was found." in summary
    assert "Not measured" not in summary and "Lowest" not in summary


def test_the_summary_shows_every_figure_in_its_row():
    overview = {
        "images": 5,
        "completed": 3,
        "failed": 12,
        "mean_overall_quality": 0.4996,
        "issues": {"blur": 2, "low_contrast": 1},
        "histograms": {"sharpness": [3, 0, 1, 0, 0, 0, 0, 0, 0, 0]},
        "worst": [
            {
                "relative_path": "a/b.jpg",
                "overall_quality": 0.12345,
                "issues": ["blur", "x"],
                **MEASURES,
            }
        ],
        "failures": [("c.jpg", "c.jpg: cut off")],
        "kept_count": 0,
        "kept": [],
        "duplicate_groups": {1: ["a.jpg", "b.jpg"], 3: ["c.jpg", "d.jpg"]},
        "duplicate_group_sizes": {1: 2, 3: 2},
        "duplicate_group_count": 4,
    }
    summary = markdown("gulls", overview, (2, 1), "/home folder/x.parquet").splitlines()
    assert (
        "2 measured and 1 failed in this run; gulls has 5 images, 3 measured, 12 failed; mean "
        "overall quality 0.500."
    ) in summary
    assert "| blur | 2 |" in summary
    assert "| low\\_contrast | 1 |" in summary
    bars = "█\u00a0▃" + "\u00a0" * 7
    counts = "  3   0   1   0   0   0   0   0   0   0"
    assert f"| sharpness | `{bars}` | {counts} |" in summary
    assert "| 0.123 | 0.500 | – | 0.250 | 1.000 | 0.125 | blur, x | a/b.jpg |" in summary
    assert "| c.jpg | c.jpg: cut off |" in summary
    assert "... and 11 more." in summary
    assert "## Near-duplicates: 4 groups" in summary
    assert "| 1 | a.jpg  b.jpg |" in summary and "| 3 | c.jpg  d.jpg |" in summary
    assert "... and 2 more." in summary
    assert "Snapshot: /home folder/x.parquet  " in summary


def test_no_name_breaks_the_tables_of_the_summary():
    evil = "a|b\n## heading\n| `x` |"
    worst = {"relative_path": evil, "overall_quality": 0.1, "issues": [], **MEASURES}
    summary = markdown(
        evil, EMPTY | {"worst": [worst], "failures": [(evil, evil)], "failed": 1}, snapshot=evil
    )
    lines = summary.splitlines()
    assert [line for line in lines if line.startswith("##")] == [
        "## Distribution, 0 to 1 in tenths",
        "## Lowest overall quality",
        "## Not measured",
    ]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines if "heading" in line]
    assert [count for count in cells if count] == [9, 3]


ID = "0a1b2c3d-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("gulls", "quality-gulls"),
        ("gulls-2", "quality-gulls-2"),
        ("Gulls", "quality-gulls-0a1b2c3d"),
        ("gulls & mussels", "quality-gulls-mussels-0a1b2c3d"),
        ("gulls_mussels", "quality-gulls-mussels-0a1b2c3d"),
        ("鷗", "quality-0a1b2c3d"),
        ("---", "quality-0a1b2c3d"),
    ],
)
def test_artifact_keys_by_hand(name, key):
    assert artifact_key("quality", name, ID) == key


@given(st.text(min_size=1, max_size=300))
def test_prefect_accepts_every_key(name):
    key = artifact_key("quality-summary", name, ID)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", key)
    assert len(key) <= 100
    assert ArtifactCreate(key=key, type="markdown", data="").key == key


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_projects_have_two_keys(one, other):
    assume(one != other)
    assert artifact_key("quality", one, ID) != artifact_key("quality", other, "f" + ID[1:])
