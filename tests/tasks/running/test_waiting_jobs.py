"""Jobs whose flow run is over before it has taken them up."""

from __future__ import annotations

from tasks.running.waiting_jobs import why_it_never_began


def test_a_job_tells_what_its_flow_has_refused():
    refused = "Flow run encountered an exception: InvalidInputError: It is taken: a.\nUse b."
    state = {"type": "FAILED", "message": refused}
    assert why_it_never_began(state) == "It is taken: a.\nUse b."
    for others in ({"message": None}, {}, {"message": "The process was killed."}):
        told = why_it_never_began({"type": "CRASHED", **others})
        assert told == "its flow run never began (crashed); start it again"
