"""What a manifest says of its session, in the keys of either generation of its writers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from storage.records import SessionManifestStatus
from tasks.reports.problem_log import ProblemLog, quoted
from tasks.sessions.folders.finding import MANIFEST_NAME
from tasks.sessions.folders.names import stated_time
from tasks.sessions.json_values import LARGEST_COUNT, LONGEST_NAME, JsonObject
from tasks.sessions.manifest.expected_images import expected_image_count, is_seed_sweep
from tasks.sessions.manifest.files import ManifestParts
from tasks.sessions.metadata.model_names import split_model_name
from tasks.sessions.problems import SessionProblemCode
from tasks.sessions.statistics import SUMMARY_VALUES, StatedFacts

MOST_PLACEHOLDERS = 1000

_STATUSES = {
    "ongoing": SessionManifestStatus.ONGOING,
    "in_progress": SessionManifestStatus.ONGOING,  # an older word for it
    "completed": SessionManifestStatus.COMPLETED,
    "aborted": SessionManifestStatus.ABORTED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFacts(StatedFacts):
    """What a manifest says; `has_snapshot`, whether it says what the session was asked to be."""

    has_snapshot: bool


def manifest_facts(
    parts: ManifestParts, log: ProblemLog, time_zone: tzinfo | None = None
) -> ManifestFacts:
    """Read what a manifest says.

    `time_zone` is of a time that does not tell its zone; None for this machine's.
    """
    status = _status(parts.status, log)
    images = parts.images
    seed_min = images.seed_min if images else None
    seed_max = images.seed_max if images else None
    snapshot = JsonObject(parts.snapshot, f"{MANIFEST_NAME}: snapshot", log)
    if not snapshot.values:
        if parts.snapshot is None:
            snapshot.refuse("", "there is none", SessionProblemCode.SNAPSHOT_MISSING)
        elif isinstance(parts.snapshot, Mapping):
            snapshot.refuse("", "it is empty", SessionProblemCode.SNAPSHOT_EMPTY)
        return ManifestFacts(
            has_snapshot=False, manifest_status=status, seed_min=seed_min, seed_max=seed_max
        )
    generation = snapshot.nested("generation_params")
    seeds = _seed_list(generation)
    if seed_min is None and seeds:
        asked = [seed for seed in seeds if seed is not None and seed >= 0]
        seed_min, seed_max = min(asked, default=None), max(asked, default=None)
    placeholders, summary = _variations(snapshot, log)
    mode = generation.name("mode", "generation_mode")
    seed_mode = generation.name("seed_mode")
    api = snapshot.nested("api_params")
    template = snapshot.nested("resolved_template")
    negative = template.text("negative", "negative_prompt")
    model, model_hash = _model(snapshot, api)
    counts = _planned_counts(generation)
    # What a cut snapshot lacks would be counted wrongly: then only the plain number is taken.
    is_whole = parts.is_snapshot_whole
    used_counts = list(placeholders.values())
    return ManifestFacts(
        has_snapshot=True,
        sd_model=model,
        sd_model_hash=model_hash,
        template_version=snapshot.name("version"),
        generation_mode=mode,
        seed_mode=seed_mode,
        seed_base=generation.seed("base_seed", "seed_base"),
        resolved_prompt=template.text("prompt") or api.text("prompt"),
        negative_prompt=api.text("negative_prompt") if negative is None else negative,
        width=api.whole_number("width", smallest=1),
        height=api.whole_number("height", smallest=1),
        steps=api.whole_number("steps"),
        cfg_scale=api.number("cfg_scale"),
        sampler_name=api.name("sampler_name", "sampler"),
        images_expected=expected_image_count(
            mode=mode, used_counts=used_counts, seed_list_length=len(seeds), **counts
        )
        if is_whole
        else counts["num_images"] or 0,
        is_seed_sweep=is_seed_sweep(
            mode=mode,
            seed_mode=seed_mode if is_whole else None,
            used_counts=used_counts,
            seed_list_length=len(seeds),
        ),
        placeholders_json=placeholders,
        variations_summary_json=summary,
        manifest_generated_at=_generated_at(snapshot, time_zone),
        manifest_status=status,
        seed_min=seed_min,
        seed_max=seed_max,
    )


def _planned_counts(generation: JsonObject) -> dict[str, int | None]:
    keys = ("num_images", "max_images", "total_combinations")
    return {key: generation.whole_number(key, largest=LARGEST_COUNT) for key in keys}


def _status(value: object, log: ProblemLog) -> SessionManifestStatus | None:
    holder = JsonObject({"status": value}, MANIFEST_NAME + ":", log)
    text = holder.name("status")
    if text is None:
        return None
    status = _STATUSES.get(text.lower())
    if status is None:
        reason = f"{quoted(text)} is none of ongoing, completed, aborted"
        holder.refuse("status", reason, SessionProblemCode.STATUS_UNKNOWN)
    return status


def _model(snapshot: JsonObject, api: JsonObject) -> tuple[str | None, str | None]:
    """Take the checkpoint that was loaded, or else the one that was asked for."""
    name, model_hash = split_model_name(
        snapshot.nested("runtime_info").name("sd_model_checkpoint", "sd_model")
    )
    if name is None:
        name, model_hash = split_model_name(
            api.nested("override_settings").name("sd_model_checkpoint")
        )
    return name, model_hash


def _seed_list(generation: JsonObject) -> list[int | None]:
    """Take the list of seeds; one that is no seed is None, and an image all the same."""
    value = generation.values.get("seed_list")
    if value is None:
        return []
    if not isinstance(value, list):
        generation.refuse("seed_list", f"{quoted(value)} where a list belongs")
        return []
    holder = generation.nested("")  # an empty one, for its log
    holder.place = f"{generation.place}.seed_list"
    return [
        holder.as_whole_number(f"[{position}]", seed, -1, 2**64 - 1)
        for position, seed in enumerate(value)
    ]


def _variations(
    snapshot: JsonObject, log: ProblemLog
) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Count the used values of each placeholder, and take the first few."""
    variations = snapshot.nested("variations")
    counts: dict[str, int] = {}
    summary: dict[str, tuple[str, ...]] = {}
    for key, value in variations.values.items():
        if len(counts) == MOST_PLACEHOLDERS:
            reason = f"only the first {MOST_PLACEHOLDERS} of {len(variations.values)} were read"
            variations.refuse("", reason, SessionProblemCode.TOO_MANY_PLACEHOLDERS)
            break
        name = key[:LONGEST_NAME]
        used: object
        if isinstance(value, list):
            reason = "a list where an object belongs; taken as the used values"
            variations.refuse(name, reason, SessionProblemCode.VARIATION_IS_LIST)
            used = value
        else:
            used = variations.nested(key).values.get("used")
        if used is not None and not isinstance(used, list):
            variations.refuse(f"{name}.used", f"{quoted(used)} where a list belongs")
        values = used if isinstance(used, list) else []
        counts[name] = len(values)
        summary[name] = tuple(_shown(item) for item in values[:SUMMARY_VALUES])
    return counts, summary


def _shown(value: object) -> str:
    return value[:LONGEST_NAME] if isinstance(value, str) else quoted(value)


def _generated_at(snapshot: JsonObject, time_zone: tzinfo | None) -> datetime | None:
    text = snapshot.name("timestamp")
    if text is None:
        return None
    try:
        return stated_time(text, time_zone)
    except ValueError:
        reason = f"{quoted(text)} is no time in ISO 8601"
        snapshot.refuse("timestamp", reason, SessionProblemCode.TIME_UNREADABLE)
        return None
