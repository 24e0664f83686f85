"""Forms that start flows: every flow has one, with what there is to choose from."""

from __future__ import annotations

import re
from html import unescape

import pytest

from deployments.registry import DEPLOYED_FLOWS
from deployments.web.pages.rendering.fields import FieldKind, groups_of, values_of
from storage.errors import InvalidInputError
from storage.jobs.records import list_jobs
from storage.projects.projects import add_project

PAGE = {"Accept": "text/html", "Origin": "http://127.0.0.1:4201"}
SCHEMA = {
    "properties": {
        "source": {"type": "string", "description": "A folder.\n\nMore."},
        "count": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": None},
        "share": {"type": "number", "default": 0.5},
        "mode": {"$ref": "#/definitions/Mode", "default": "copy"},
        "names": {"type": "array", "items": {"type": "string"}, "default": []},
        "pairs": {"anyOf": [{"type": "object"}, {"type": "null"}], "default": None},
        "force": {"type": "boolean", "default": False},
        "tiling": {"$ref": "#/definitions/Tiling"},
    },
    "required": ["source"],
    "definitions": {
        "Mode": {"enum": ["copy", "link"], "type": "string"},
        "Tiling": {
            "properties": {
                "size": {"type": "integer"},
                "inner": {"$ref": "#/definitions/Inner"},
            }
        },
        "Inner": {"properties": {"on": {"type": "boolean"}}},
    },
}


def test_fields_follow_the_description_and_empty_ones_are_left_out():
    groups = groups_of(SCHEMA, {})
    assert [group.name for group in groups] == ["", "tiling"]
    kinds = {one.name: one.kind for group in groups for one in group.fields}
    assert kinds == {
        "source": FieldKind.TEXT,
        "count": FieldKind.INTEGER,
        "share": FieldKind.NUMBER,
        "mode": FieldKind.CHOICE,
        "names": FieldKind.LINES,
        "pairs": FieldKind.PAIRS,
        "force": FieldKind.SWITCH,
        "tiling.size": FieldKind.INTEGER,
        "tiling.inner.on": FieldKind.SWITCH,
    }
    source = groups[0].fields[0]
    assert (source.help, source.is_required) == ("A folder.", True)
    sent = {
        "source": [" /data "],
        "count": [""],
        "share": ["0.5"],
        "mode": ["link"],
        "names": ["a\r\n\r\n b "],
        "pairs": ["x=1\ny = 2=3"],
        "tiling.size": ["640"],
        "tiling.inner.on": ["true"],
    }
    assert values_of(groups, sent) == {
        "source": "/data",
        "mode": "link",
        "names": ["a", "b"],
        "pairs": {"x": "1", "y = 2": "3"},
        "tiling": {"size": 640, "inner": {"on": True}},
    }
    with pytest.raises(InvalidInputError, match="count: 'many' is not a number"):
        values_of(groups, {"count": ["many"]})
    with pytest.raises(InvalidInputError, match="'x' should be NAME=VALUE"):
        values_of(groups, {"pairs": ["x"]})


def test_every_flow_has_a_form_with_a_label_on_each_field(web):
    listed = web.get("/start", headers=PAGE).text
    for flow in DEPLOYED_FLOWS:
        assert f'href="/start/{flow.name}"' in listed
        text = web.get(f"/start/{flow.name}", headers=PAGE).text
        fields = re.findall(r'<(?:input|select|textarea) id="([^"]+)"', text)
        labels = re.findall(r'<label for="([^"]+)"', text)
        assert set(fields) <= {*labels, *re.findall(r'type="checkbox" id="([^"]+)"', text)}
    assert web.get("/start/nothing", headers=PAGE).status_code == 404


def test_what_is_refused_is_said_above_what_was_filled_in(web, database, tmp_path):
    project = add_project(database, 'a "<b>', tmp_path / "a")
    form = web.get("/start/quality-metrics", headers=PAGE).text
    assert f'<option value="{project.id}">a &#34;&lt;b&gt;</option>' in form
    refused = web.post(
        "/start/quality-metrics",
        data={"project": str(project.id), "batch_size": "7"},
        headers=PAGE,
        follow_redirects=False,
    )
    assert refused.status_code == 503 and "no Prefect server is running" in refused.text
    assert f'<option value="{project.id}" selected>' in refused.text
    assert 'value="7"' in refused.text
    for data, why in (
        ({"project": str(project.id), "batch_size": "x"}, "batch size: 'x' is not a number."),
        ({"project": "gone"}, "There is no project 'gone'"),
    ):
        answer = web.post("/start/quality-metrics", data=data, headers=PAGE)
        assert answer.status_code in (404, 422) and why in unescape(answer.text)
    outside = web.post("/start/ingest-project", data={"source": "/etc"}, headers=PAGE)
    assert outside.status_code == 422 and "outside of the folders" in outside.text
    foreign = {**PAGE, "Origin": "http://evil.example"}
    assert web.post("/start/prune", data={}, headers=foreign).status_code == 403
    assert list_jobs(database) == []
