from __future__ import annotations

import copy
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.records import SessionManifestStatus
from tasks.sessions.manifest.facts import MOST_PLACEHOLDERS, manifest_facts
from tasks.sessions.manifest.files import parse_manifest
from tasks.sessions.problems import session_log
from tests.tasks.sessions.manifest.test_files import json_values
from tests.tasks.sessions.session_samples import manifest, snapshot


def read(document):
    log = session_log()
    parts = parse_manifest(json.dumps(document).encode(), log)
    facts = manifest_facts(parts, log, UTC)
    return facts, [(str(problem.code), problem.place) for problem in log.entries()]


def with_generation(**parameters):
    return {"snapshot": snapshot(generation_params=parameters), "images": []}


def test_the_keys_of_the_generator():
    facts, problems = read(manifest())
    assert problems == []
    assert facts.has_snapshot
    assert (facts.sd_model, facts.sd_model_hash) == ("animefull_v1.safetensors", "abc123def456")
    assert facts.template_version == "2.0"
    assert (facts.generation_mode, facts.seed_mode) == ("combinatorial", "progressive")
    assert facts.seed_base == 42
    assert facts.resolved_prompt == "masterpiece, {Expression}, {Angle}"
    assert facts.negative_prompt == "low quality"
    assert (facts.width, facts.height, facts.steps) == (512, 768, 30)
    assert facts.cfg_scale == 7.5
    assert facts.sampler_name == "DPM++ 2M Karras"
    assert facts.images_expected == 6
    assert not facts.is_seed_sweep
    assert facts.placeholders_json == {"Expression": 3, "Angle": 2}
    assert facts.variations_summary_json == {
        "Expression": ("happy", "sad", "angry"),
        "Angle": ("front", "side"),
    }
    assert facts.manifest_generated_at == datetime(2025, 10, 14, 17, 33, 20, 123456, UTC)
    assert facts.manifest_status is SessionManifestStatus.COMPLETED
    assert (facts.seed_min, facts.seed_max) == (42, 47)


def test_the_documented_keys():
    document = with_generation(
        mode="combinatorial", seed_mode="progressive", seed_base=7, max_images=100
    )
    document["snapshot"]["api_params"] = {"sampler": "Euler a"}
    document["snapshot"]["resolved_template"] = {"prompt": "a", "negative_prompt": "b"}
    facts, problems = read(document)
    assert problems == []
    assert (facts.seed_base, facts.images_expected) == (7, 6)
    assert facts.sampler_name == "Euler a"
    assert (facts.resolved_prompt, facts.negative_prompt) == ("a", "b")
    assert (facts.width, facts.height, facts.steps, facts.cfg_scale) == (None,) * 4


def test_twelve_variations_with_twenty_seeds():
    document = with_generation(
        mode="combinatorial", seed_mode="fixed", base_seed=-1, seed_list=list(range(1000, 1020))
    )
    document["snapshot"]["variations"] = {"Hair": {"used": [f"hair {n}" for n in range(12)]}}
    facts, problems = read(document)
    assert problems == []
    assert facts.images_expected == 240
    assert facts.is_seed_sweep
    assert facts.seed_base == -1
    assert (facts.seed_min, facts.seed_max) == (1000, 1019)
    assert facts.placeholders_json == {"Hair": 12}
    assert facts.variations_summary_json == {"Hair": tuple(f"hair {n}" for n in range(10))}


def test_one_placeholder_with_one_value_and_progressive_seeds_is_a_sweep():
    document = with_generation(mode="random", seed_mode="progressive", max_images=50)
    document["snapshot"]["variations"] = {"Hair": {"used": ["red"]}}
    facts, _ = read(document)
    assert facts.is_seed_sweep
    assert facts.images_expected == 50


def test_prompt_and_model_of_the_request_stand_in():
    document = {
        "snapshot": {
            "runtime_info": {"sd_model_checkpoint": "unknown"},
            "api_params": {
                "prompt": "a cat",
                "negative_prompt": "",
                "override_settings": {"sd_model_checkpoint": "cat.ckpt [0123456789]"},
            },
        }
    }
    facts, problems = read(document)
    assert problems == []
    assert (facts.resolved_prompt, facts.negative_prompt) == ("a cat", "")
    assert (facts.sd_model, facts.sd_model_hash) == ("cat.ckpt", "0123456789")


@pytest.mark.parametrize(
    ("value", "status", "codes"),
    [
        ("ongoing", SessionManifestStatus.ONGOING, []),
        ("in_progress", SessionManifestStatus.ONGOING, []),
        (" Aborted ", SessionManifestStatus.ABORTED, []),
        ("paused", None, [("status_unknown", "manifest.json:.status")]),
        (3, None, [("wrong_type", "manifest.json:.status")]),
        (None, None, []),
    ],
)
def test_the_stated_status(value, status, codes):
    facts, problems = read(manifest(0, status=value))
    assert facts.manifest_status is status
    assert [code for code, _ in problems] == [code for code, _ in codes]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "snapshot_missing"),
        ({}, "snapshot_empty"),
        ([], "wrong_type"),
        ("text", "wrong_type"),
        (3, "wrong_type"),
    ],
)
def test_without_a_snapshot_the_images_still_tell_their_seeds(value, code):
    facts, problems = read(manifest(3, snapshot=value, status="aborted"))
    assert problems == [(code, "manifest.json: snapshot")]
    assert not facts.has_snapshot
    assert (facts.seed_min, facts.seed_max) == (42, 44)
    assert facts.manifest_status is SessionManifestStatus.ABORTED
    assert facts.images_expected == 0


@pytest.mark.parametrize(
    ("path", "value", "code", "kept"),
    [
        (("api_params", "width"), "512", "number_as_text", ("width", 512)),
        (("api_params", "width"), "wide", "wrong_type", ("width", None)),
        (("api_params", "width"), 0, "out_of_range", ("width", None)),
        (("api_params", "width"), 2**31, "out_of_range", ("width", None)),
        (("api_params", "width"), 512.0, None, ("width", 512)),
        (("api_params", "width"), 512.5, "wrong_type", ("width", None)),
        (("api_params", "width"), True, "wrong_type", ("width", None)),
        (("api_params", "steps"), -1, "out_of_range", ("steps", None)),
        (("api_params", "cfg_scale"), "7.5", "number_as_text", ("cfg_scale", 7.5)),
        (("api_params", "cfg_scale"), float("nan"), "not_finite", ("cfg_scale", None)),
        (("api_params", "cfg_scale"), 10**320, "out_of_range", ("cfg_scale", None)),
        (("api_params", "cfg_scale"), [7], "wrong_type", ("cfg_scale", None)),
        (("api_params",), "none", "wrong_type", ("width", None)),
        (("generation_params",), ["combinatorial"], "wrong_type", ("generation_mode", None)),
        (("generation_params", "mode"), 3, "wrong_type", ("generation_mode", None)),
        (("generation_params", "num_images"), "6", "number_as_text", ("images_expected", 6)),
        (("generation_params", "num_images"), -5, "out_of_range", ("images_expected", 6)),
        (("generation_params", "num_images"), None, None, ("images_expected", 6)),
        (("generation_params", "base_seed"), 2**64, "out_of_range", ("seed_base", None)),
        (("generation_params", "base_seed"), 2**64 - 1, None, ("seed_base", 2**64 - 1)),
        (
            ("generation_params", "base_seed"),
            str(2**64 - 1),
            "number_as_text",
            ("seed_base", 2**64 - 1),
        ),
        (("generation_params", "seed_list"), "1000-1019", "wrong_type", ("is_seed_sweep", False)),
        (("generation_params", "seed_list"), [1, "x"], "wrong_type", ("is_seed_sweep", True)),
        (("variations",), [], "wrong_type", ("placeholders_json", {})),
        (("variations",), None, None, ("placeholders_json", {})),
        (("variations", "Angle"), ["a"], "variation_is_list", ("images_expected", 6)),
        (("variations", "Angle"), None, None, ("images_expected", 6)),
        (("variations", "Angle"), "front", "wrong_type", ("images_expected", 6)),
        (("variations", "Angle", "used"), "front", "wrong_type", ("images_expected", 6)),
        (("runtime_info",), "x", "wrong_type", ("sd_model", None)),
        (("runtime_info", "sd_model_checkpoint"), 5, "wrong_type", ("sd_model", None)),
        (("resolved_template", "prompt"), {}, "wrong_type", ("resolved_prompt", None)),
        (("timestamp",), "yesterday", "time_unreadable", ("manifest_generated_at", None)),
        (("timestamp",), 1697304800, "wrong_type", ("manifest_generated_at", None)),
        (("version",), 2, "wrong_type", ("template_version", None)),
    ],
)
def test_a_wrong_value_costs_only_itself(path, value, code, kept):
    document = copy.deepcopy(manifest())
    holder = document["snapshot"]
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    facts, problems = read(document)
    place = "manifest.json: snapshot." + ".".join(path)
    assert {found for found, _ in problems} == ({code} if code else set())
    assert all(found.startswith(place) for _, found in problems)
    assert getattr(facts, kept[0]) == kept[1]
    # its neighbours are read
    assert facts.manifest_status is SessionManifestStatus.COMPLETED
    assert facts.has_snapshot


def test_used_values_of_any_kind_are_shown():
    document = manifest()
    document["snapshot"]["variations"] = {"A": {"used": ["x", 3, None, ["y"], "z" * 600]}}
    facts, _ = read(document)
    assert facts.placeholders_json == {"A": 5}
    assert facts.variations_summary_json["A"][:4] == ("x", "3", "None", "a list")
    assert len(facts.variations_summary_json["A"][4]) == 500


def test_texts_and_placeholders_are_bounded():
    document = manifest()
    document["snapshot"]["resolved_template"]["prompt"] = "x" * 200_000
    document["snapshot"]["variations"] = {f"P{n}": {"used": ["v"]} for n in range(2000)}
    facts, problems = read(document)
    assert len(facts.resolved_prompt) == 100_000
    assert len(facts.placeholders_json) == MOST_PLACEHOLDERS
    assert {code for code, _ in problems} == {"text_cut", "too_many_placeholders"}


def test_of_a_cut_snapshot_only_the_plain_number_is_promised():
    text = json.dumps(manifest())
    log = session_log()
    cut = text.index('"total_combinations"')
    facts = manifest_facts(parse_manifest(text[:cut].encode(), log), log, UTC)
    assert facts.images_expected == 6
    assert not facts.is_seed_sweep  # nobody knows how many placeholders there were
    cut = text.index('"num_images"')
    facts = manifest_facts(parse_manifest(text[:cut].encode(), log), log, UTC)
    assert facts.images_expected == 0
    assert facts.generation_mode == "combinatorial"
    # the placeholders, which decide and not the most that was asked for, would have followed
    document = with_generation(mode="combinatorial", max_images=100)
    text = json.dumps(document)
    cut = text.index('"variations"')
    facts = manifest_facts(parse_manifest(text[:cut].encode(), log), log, UTC)
    assert facts.images_expected == 0


PLACES = [
    (),
    ("images",),
    ("images", 1),
    ("images", 1, "filename"),
    ("images", 1, "seed"),
    ("status",),
    ("snapshot",),
    *[("snapshot", key) for key in snapshot()],
    *[
        ("snapshot", key, inner)
        for key, value in snapshot().items()
        if isinstance(value, dict)
        for inner in value
    ],
    ("snapshot", "generation_params", "seed_list"),
    ("snapshot", "generation_params", "max_images"),
    ("snapshot", "api_params", "override_settings"),
    ("snapshot", "variations", "Angle", "used"),
]


@given(st.sampled_from(PLACES), json_values)
def test_any_value_anywhere_is_read_without_an_error(place, value):
    document = copy.deepcopy(manifest(3))
    if place:
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        holder[place[-1]] = value
    else:
        document = value
    log = session_log()
    parts = parse_manifest(json.dumps(document).encode(), log)
    if parts is None:
        assert log.entries()
        return
    facts = manifest_facts(parts, log, UTC)
    assert 0 <= facts.images_expected < 2**63
    assert all(count >= 0 for count in facts.placeholders_json.values())
    assert facts.seed_base is None or -(2**63) <= facts.seed_base < 2**64
    assert facts.seed_min is None or 0 <= facts.seed_min <= facts.seed_max < 2**64
    for size in (facts.width, facts.height, facts.steps):
        assert size is None or 0 <= size < 2**31
