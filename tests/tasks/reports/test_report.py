"""The page of a run: whole in itself, and names in it are never markup."""

import xml.etree.ElementTree as ElementTree

import pyarrow as pa

from tasks.inference.runs.snapshot_rows import RESULTS_SCHEMA, results_batch
from tasks.reports.html_page import report_html
from tasks.reports.markdown import report_markdown
from tasks.reports.report import Picture, Report, Table

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
    assert len(table) == 3
    assert all(line.replace("\\|", "").count("|") == 3 for line in table)
    assert "<script>" not in text and "](c)" not in text


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
