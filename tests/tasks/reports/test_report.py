"""The page of a run: whole in itself, and names in it are never markup."""

import base64
import xml.etree.ElementTree as ElementTree

import pyarrow as pa
import pytest

from deployments.cli.output.tables import print_report
from tasks.inference.runs.snapshot_rows import RESULTS_SCHEMA, results_batch
from tasks.reports.html_page import report_html
from tasks.reports.markdown import report_markdown
from tasks.reports.report import Bar, Drawing, Picture, Report, Shape, Table

NASTY = '<script>alert("x")</script> & | [b](c) `d` \n e'


def report(pictures=0):
    return Report(
        title=NASTY,
        sentences=[NASTY],
        tables=[Table(NASTY, (NASTY, "n"), [(NASTY, "3")]), Table("empty", ("a",), [])],
        pictures=[Picture(NASTY, b"\xff\xd8jpeg")] * pictures,
        places=[("Snapshot", NASTY)],
    )


def test_the_page_is_well_formed_and_has_the_names_as_text():
    page = report_html(report(2))
    body = page[page.index("<body>") : page.index("</html>")]
    body = body.replace('">\n<figcaption', '"/>\n<figcaption').replace(
        '"><figcaption', '"/><figcaption'
    )
    tree = ElementTree.fromstring(body)
    assert tree.find("h1").text == NASTY
    assert [cell.text for cell in tree.iter("td")] == [NASTY, "3"]
    assert len(list(tree.iter("img"))) == 2
    assert "<script>" not in page and "empty" not in page


def test_markdown_has_each_name_on_one_line_without_markup():
    text = report_markdown(report(5))
    assert text.count("![overlay](data:image/jpeg;base64,") == 3
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert table[1] == "|---|---:|"
    assert len(table) == 3
    assert all(line.replace("\\|", "").count("|") == 3 for line in table)
    assert "<script>" not in text and "](c)" not in text


@pytest.mark.parametrize(
    ("cells", "are_figures"),
    [
        (["1", "23"], True),
        (["0.123", "–"], True),
        (["75.0%", "62.50 %", ""], True),
        (["5 of 8", "3"], True),
        (["2025-10-14 17:33"], True),
        (["1", "2.jpg"], False),
        (["class 1"], False),
        ([], True),
    ],
)
def test_columns_of_figures_are_known_by_their_cells(cells, are_figures):
    table = Table("t", ("name", "n"), [("x", cell) for cell in cells])
    assert table.has_figures(1) is are_figures


def test_what_is_not_shown_is_counted():
    table = Table("t", ("n",), [(str(number),) for number in range(120)], more=3)
    markdown = report_markdown(Report("r", [], [table]))
    assert "| 99 |" in markdown and "| 100 |" not in markdown
    assert "... and 23 more." in markdown
    page = report_html(Report("r", [], [table]))
    assert '<td class="number">119</td>' in page and "... and 3 more." in page
    assert table.first(None)[1] == 3 and table.first(10)[1] == 113


def test_bars_are_kept_as_they_are():
    report = Report("r", [], [Table("t", ("shape",), [(Bar(" ▁█ "),)])], notes=["look <here>"])
    assert "| `\u00a0▁█\u00a0` |" in report_markdown(report)
    assert "- look \\<here\\>" in report_markdown(report)
    page = report_html(report)
    assert '<td class="bar"> ▁█ </td>' in page and "<li>look &lt;here&gt;</li>" in page


def test_the_terminal_shows_figures_below_each_other_and_notes_as_errors(capsys):
    table = Table("t", ("name", "n", ""), [("[red]a", "5", Bar("█ ")), ("b", "12", Bar("▏"))])
    rows = [(str(number),) for number in range(12)]
    report = Report(
        "[bold]r", ["said"], [table, Table("many", ("n",), rows)], ["note"], places=[("x", "/y")]
    )
    print_report(report, ("page", "/p"))
    shown = capsys.readouterr()
    assert shown.err == "note\n"
    lines = [line.rstrip() for line in shown.out.splitlines()]
    assert lines[:7] == [
        *("[bold]r", "said", "", "t"),
        *(" name     n", " [red]a   5  █", " b       12  ▏"),
    ]
    assert "... and 2 more; --all-rows shows them." in lines
    assert lines[-3:] == ["Where it lies", "  x         /y", "  page      /p"]


def test_rows_of_a_snapshot_keep_polygons_as_nested_lists():
    base = dict.fromkeys(RESULTS_SCHEMA.names) | dict.fromkeys(
        ("run_id", "image_id", "name", "sha256"), "x"
    )
    square = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0]]
    polygon = {"coords": square, "confidence": 0.5, "class": "live", "bbox": [0.0, 0.0, 4.0, 4.0]}
    whole = polygon | {"holes": [square[:3]], "other_parts": [square, square]}
    batch = results_batch(
        [
            base | {"class_counts": {"live": 2}, "polygons": [polygon, whole]},
            base | {"class_counts": {}, "polygons": []},
            base | {"error_msg": "broken"},
        ]
    )
    first, empty, failed = pa.Table.from_batches([batch]).to_pylist()
    assert first["class_counts"] == [("live", 2)]
    assert first["polygons"] == [polygon | {"holes": [], "other_parts": []}, whole]
    assert (empty["class_counts"], empty["polygons"]) == ([], [])
    assert (failed["class_counts"], failed["polygons"]) == (None, None)


def test_shapes_stay_shapes_with_names_in_any_script():
    squares = [[[10, 20], [30, 20], [30, 50], [10, 50]], [[15, 25], [20, 25], [20, 30]]]
    shapes = [Shape(squares, "#009e73", NASTY), Shape(squares[:1], "#d55e00", "мидия 貝 0.93")]
    drawing = Drawing(b"\xff\xd8plain", 64, 48, shapes)
    page = report_html(Report("r", [], pictures=[Picture("t", b"\xff\xd8drawn", drawing)]))
    svg = ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    assert svg.get("viewBox") == "0 0 64 48"
    assert [text.text for text in svg.iter("text")] == [NASTY, "мидия 貝 0.93"]
    assert svg.find(".//path").get("d") == (
        "M10.0 20.0 30.0 20.0 30.0 50.0 10.0 50.0ZM15.0 25.0 20.0 25.0 20.0 30.0Z"
    )
    assert svg.find(".//text").get("x") == "10.0"
    assert base64.b64encode(b"\xff\xd8plain").decode() in page
    assert base64.b64encode(b"\xff\xd8drawn").decode() not in page
    many = Drawing(b"", 64, 48, shapes * 8)
    assert 'class="shapes named"' in page
    assert 'class="shapes"' in report_html(Report("r", [], pictures=[Picture("t", b"", many)]))


def test_a_report_links_to_its_page_where_there_is_one() -> None:
    report = Report("a [b](c)", ["done"])
    link = "http://127.0.0.1:4201/runs/4ace"
    assert f"[See it with its pictures](<{link}>)" in report_markdown(report, link)
    assert "<http" not in report_markdown(report)
