"""The API does what its OpenAPI description says, whatever it is asked."""

from __future__ import annotations

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import positive_data_acceptance

from deployments.web.application import create_application
from storage.projects.projects import add_project
from storage.settings import get_settings

HOST = {"Host": "127.0.0.1:4201"}
EXAMPLES = {"ci": 8, "nightly": 200}


@schemathesis.serializer("application/offset+octet-stream")
def as_it_is(context, value):
    """Bytes of an upload."""
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture
def description(database, tmp_path):
    """The description of the application, asked in this process; there is one project."""
    add_project(database, "gulls", tmp_path)
    return schemathesis.openapi.from_asgi(
        "/api/v1/openapi.json",
        create_application(get_settings()),
        headers=HOST,
    )


def test_every_route_answers_as_described(description):
    """Few examples of each: `HYPOTHESIS_PROFILE=nightly` looks longer."""
    examples = EXAMPLES[hypothesis.settings.get_current_profile_name()]
    operations = [found.ok() for found in description.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            derandomize=examples < 100,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        )
        @hypothesis.given(case=operation.as_strategy())
        def answers_as_described(case):
            answer = case.call(headers=HOST)
            # Nothing runs flows here, and that is what starts say.
            is_start = answer.status_code == 503 and "Nothing was started" in answer.text
            left_out = [not_a_server_error] if is_start else []
            # A folder or a cursor may fit its type and yet be none.
            left_out.append(positive_data_acceptance)
            case.validate_response(answer, excluded_checks=left_out)

        answers_as_described()


def test_every_field_and_route_is_described(web):
    told = web.get("/api/v1/openapi.json").json()
    operations = [operation for path in told["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    silent = [one["operationId"] for one in operations if not one.get("description")]
    for operation in operations:
        for parameter in operation.get("parameters", ()):
            if not parameter.get("description"):
                silent.append(f"{operation['operationId']}.{parameter['name']}")
    for name, model in told["components"]["schemas"].items():
        if name in ("HTTPValidationError", "ValidationError"):
            continue
        for field, about in model.get("properties", {}).items():
            if not about.get("description"):
                silent.append(f"{name}.{field}")
    assert silent == []


def test_examples_fit_their_models(web):
    from pydantic import BaseModel

    def models(kind):
        for one in kind.__subclasses__():
            yield one
            yield from models(one)

    found = 0
    for model in models(BaseModel):
        if not model.__module__.startswith("deployments.web"):
            continue
        extra = model.model_config.get("json_schema_extra") or {}
        for example in extra.get("examples", ()):
            model.model_validate(example)
            found += 1
    assert found
