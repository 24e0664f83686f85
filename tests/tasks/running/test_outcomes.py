"""What a run has come to is known here, also where the server's answer about its end was lost."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.states import Failed

from deployments.cli.run.here import outcome_of
from storage.errors import InvalidInputError
from tasks.running.outcomes import Outcome, kept_outcome

# As the server gives them: without what the flow has returned or raised.
COMPLETED, FAILED = State(type=StateType.COMPLETED), State(type=StateType.FAILED, message="bad")


def test_what_a_flow_has_returned_is_known_without_its_own_state():
    with kept_outcome() as keep:
        keep({"total": 3})
    assert outcome_of("count", COMPLETED) == Outcome({"total": 3})


def test_what_it_has_raised_is_known_too():
    with pytest.raises(InvalidInputError), kept_outcome():
        raise InvalidInputError("There is no such thing.")
    assert outcome_of("count", FAILED) == Outcome(error="There is no such thing.")


def test_a_failed_state_with_data_is_told_with_it():
    with kept_outcome() as keep:
        keep(Failed(data={"total": 3}, message="bad"))
    assert outcome_of("count", FAILED) == Outcome({"total": 3}, "count failed: bad")


def test_of_a_flow_that_never_began_the_state_alone_tells():
    with kept_outcome():
        pass
    assert outcome_of("count", FAILED) == Outcome(error="count failed: bad")
