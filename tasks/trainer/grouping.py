"""Images that must not be parted by a split, and splits that projects bring along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.labels.dataset.addresses import Split
from tasks.quality.similar.comparison import SECOND_HASH_FROM
from tasks.quality.similar.duplicate_groups import find_duplicate_groups
from tasks.quality.similar.hamming_blocks import hashes_from_hex
from tasks.trainer.candidates import Candidate, image_key
from tasks.trainer.siblings import source_name
from tasks.trainer.splitting import SplitImage, SplitRatios, group_images, split_images

NEAR_DUPLICATE_DISTANCE = 6
_SPLITS = tuple(Split)


@dataclass(frozen=True)
class Division:
    """The split of every image, and which images belong together.

    Attributes:
        splits: by key.
        groups: number of the group of each key, from 1 in the order of the keys.
        leaks: groups that the kept splits of the projects part, each with its keys.
    """

    splits: Mapping[str, Split]
    groups: Mapping[str, int]
    leaks: Sequence[Sequence[str]]


def as_split_images(
    candidates: Sequence[Candidate],
    classes: Mapping[str, frozenset[str]],
    *,
    threads: int = 1,
    second_hash_from: int = SECOND_HASH_FROM,
) -> list[SplitImage]:
    """Say of each image what ties it to others.

    Near-duplicates are found over all projects. Among very many images unrelated ones are near each
    other in one hash by chance, so a pair must be near in a second one as well. `classes` has the
    names of the classes in each image, by key.
    """
    key_of_id = {candidate.registered.image_id: candidate.key for candidate in candidates}
    groups = _near_duplicates(candidates, threads, second_hash_from)
    images = []
    for candidate in candidates:
        registered = candidate.registered
        source = image_key(candidate.project, f"*/{source_name(registered.relative_path)}")
        if registered.generated_from_id is not None:
            # The record knows better than the name; an original that is left out still ties.
            source = key_of_id.get(
                registered.generated_from_id, f"id {registered.generated_from_id}"
            )
        images.append(
            SplitImage(
                candidate.key,
                classes[candidate.key],
                registered.sha256,
                groups.get(candidate.key),
                source,
            )
        )
    return images


def _near_duplicates(
    candidates: Sequence[Candidate], threads: int, second_hash_from: int
) -> dict[str, str]:
    """A name for the group of each image that is near another one."""
    hashed = [
        (candidate.key, registered.perceptual_hash, registered.difference_hash or "0" * 16)
        for candidate in candidates
        if (registered := candidate.registered).perceptual_hash is not None
    ]
    if len(hashed) < 2:
        return {}
    confirm = len(hashed) >= second_hash_from
    found = find_duplicate_groups(
        hashes_from_hex([first or "" for _, first, _ in hashed]),
        distance=NEAR_DUPLICATE_DISTANCE,
        second_hashes=hashes_from_hex([second for *_, second in hashed]) if confirm else None,
        threads=threads,
    )
    return {
        key: hashed[group][0]
        for (key, *_), group in zip(hashed, found.tolist(), strict=True)
        if group >= 0
    }


def divide(
    images: Sequence[SplitImage],
    ratios: SplitRatios,
    seed: int,
    kept: Mapping[str, Split] | None = None,
) -> Division:
    """Divide images so that every group is in one split, for each seed with the same quality.

    Splits in `kept` stay, by key. An image that has none there follows its group; groups without
    any are divided by the ratios. Only kept splits can part a group.
    """
    groups = group_images(images)
    numbers = {image.key: number for number, group in enumerate(groups, start=1) for image in group}
    splits: dict[str, Split] = {}
    leaks: list[list[str]] = []
    free: list[SplitImage] = []
    for group in groups:
        known = Counter(kept[image.key] for image in group if kept and image.key in kept)
        if not known:
            free.extend(group)
            continue
        usual = max(known, key=lambda split: (known[split], -_SPLITS.index(split)))
        splits.update((image.key, (kept or {}).get(image.key, usual)) for image in group)
        if len(known) > 1:
            leaks.append([image.key for image in group])
    splits.update(split_images(free, ratios, seed))
    return Division(splits, numbers, leaks)
