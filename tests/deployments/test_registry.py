"""The registry of deployments: what stands in it can be imported, and its times can be changed."""

from __future__ import annotations

import pytest
from prefect.utilities.schema_tools.validation import validate

from deployments.registry import DEPLOYED_FLOWS, find_deployed_flow
from deployments.server.deploy import chosen_schedules
from storage.errors import ConfigurationError, NotFoundError
from storage.settings import Settings


@pytest.mark.parametrize("deployed", DEPLOYED_FLOWS, ids=lambda deployed: deployed.name)
def test_every_entry_names_its_flow(deployed):
    flow = deployed.load()
    assert flow.name == deployed.name
    assert set(deployed.parameters) <= set(flow.parameters.properties)
    required = set(flow.parameters.required or []) - set(deployed.parameters)
    if deployed.schedule is not None:
        assert required <= set(deployed.schedule.parameters), "a scheduled run has all it needs"


@pytest.mark.parametrize("deployed", DEPLOYED_FLOWS, ids=lambda deployed: deployed.name)
def test_every_field_of_the_form_has_a_help_text(deployed):
    schema = deployed.load().parameters
    forms = {deployed.name: schema.properties}
    for name, definition in schema.definitions.items():
        forms[name] = definition.get("properties", {})
    for form, fields in forms.items():
        for name, field in fields.items():
            assert field.get("description"), f"{form}: {name}"


def test_choices_are_lists_and_numbers_have_ranges():
    schema = find_deployed_flow("ingest-project").load().parameters
    assert schema.definitions["IngestMode"]["enum"] == ["copy", "link"]
    assert "hflip" in schema.definitions["Augmentation"]["enum"]
    schema = find_deployed_flow("create-release").load().parameters
    assert schema.properties["task"]["enum"] == ["detect", "segment", "obb", "pose"]
    assert schema.properties["train"]["maximum"] == 1
    schema = find_deployed_flow("quality-metrics").load().parameters
    batch_size = schema.properties["batch_size"]
    assert [batch_size[key] for key in ("minimum", "maximum", "default")] == [1, 200, 50]
    assert schema.definitions["BlurRule"]["enum"] == ["focus", "sharpness"]


def test_forms_have_a_plain_input_help_and_a_default_for_what_may_be_left_out():
    for deployed in DEPLOYED_FLOWS:
        schema = deployed.load().parameters
        for name, field in schema.properties.items():
            assert "anyOf" not in field, f"{deployed.name}: {name}"
            assert field["description"], f"{deployed.name}: {name}"
            # The form sends a default, and says that nothing is not of the field's kind.
            assert field.get("default", "") is not None, f"{deployed.name}: {name}"


def test_a_form_with_only_its_required_fields_filled_in_is_valid():
    filled = {"project": "p", "projects": ["p"], "name": "n", "collection": "c", "model": "m"}
    filled |= {"first": "3f2a", "second": "81c0", "run": "3f2a"}
    for deployed in DEPLOYED_FLOWS:
        schema = deployed.load().parameters.model_dump_for_openapi()
        fields, required = schema.get("properties", {}), schema.get("required", ())
        values = {name: field["default"] for name, field in fields.items() if "default" in field}
        values |= {name: filled[name] for name in required}
        # As the form of the UI asks the server before it can be sent.
        assert validate(values, schema, preprocess=True) == [], deployed.name


def test_names_and_schedules_are_unique():
    names = [deployed.name for deployed in DEPLOYED_FLOWS]
    slugs = [deployed.schedule.slug for deployed in DEPLOYED_FLOWS if deployed.schedule]
    assert len(set(names)) == len(names) and len(set(slugs)) == len(slugs)


def test_an_unknown_flow_is_refused_with_those_that_exist():
    with pytest.raises(NotFoundError, match=r"'quality'; there are: .*quality-metrics, "):
        find_deployed_flow("quality")


def test_times_can_be_changed_and_schedules_left_out():
    assert chosen_schedules(Settings())["quality-nightly"].cron == "0 2 * * *"
    changed = chosen_schedules(Settings(schedules={"quality-nightly": "30 1 * * 1-5"}))
    assert changed["quality-nightly"].cron == "30 1 * * 1-5"
    assert "quality-nightly" not in chosen_schedules(Settings(schedules={"quality-nightly": "off"}))


def test_a_schedule_without_work_is_left_out():
    assert "session-stats" not in chosen_schedules(Settings())
    schedules = chosen_schedules(Settings(sessions_root="/sessions"))
    assert schedules["session-stats"].cron == "*/15 * * * *"
    # To name it is no mistake.
    assert "session-stats" not in chosen_schedules(Settings(schedules={"session-stats": "off"}))


@pytest.mark.parametrize(
    ("schedules", "problem"),
    [
        ({"nightly": "0 1 * * *"}, "'nightly'; there are: .*quality-nightly"),
        ({"quality-nightly": "at one"}, "quality-nightly cannot be 'at one'"),
        ({"quality-nightly": "61 * * * *"}, "quality-nightly cannot be '61"),
    ],
)
def test_a_wrong_time_is_refused(schedules, problem):
    with pytest.raises(ConfigurationError, match=problem):
        chosen_schedules(Settings(schedules=schedules))
