"""How the images of a session were generated, told by a few of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.reports.problem_log import ProblemLog
from tasks.sessions.metadata.generators import GenerationMetadata, generation_metadata, with_size
from tasks.sessions.metadata.image_headers import ImageHeaderError, read_image_header
from tasks.sessions.problems import SessionProblemCode, session_log, some_names

_COMPARED = (
    "sd_model",
    "sd_model_hash",
    "steps",
    "cfg_scale",
    "sampler_name",
    "width",
    "height",
)


@dataclass(frozen=True, slots=True)
class SampledImages:
    """What opened images tell; those that tell how they were generated in the order of names."""

    opened: int
    metadata: tuple[GenerationMetadata, ...]

    @property
    def prompt(self) -> str | None:
        """The prompt of the first image that tells one."""
        return next((item.prompt for item in self.metadata if item.prompt), None)

    @property
    def negative_prompt(self) -> str | None:
        """The negative prompt of the first image that tells one."""
        return next((item.negative_prompt for item in self.metadata if item.negative_prompt), None)

    @property
    def seeds(self) -> list[int]:
        """The seeds that are known; -1 asked for any."""
        return [item.seed for item in self.metadata if item.seed is not None and item.seed >= 0]

    def most_common(self) -> dict[str, object]:
        """The value of each field that most images have; of equally many the first."""
        common: dict[str, object] = {}
        for name in _COMPARED:
            values = [getattr(item, name) for item in self.metadata]
            known = Counter(value for value in values if value is not None)
            common[name] = known.most_common(1)[0][0] if known else None
        return common


def choose_sample(names: Sequence[str], size: int) -> list[str]:
    """Choose the first, the last, and evenly spread ones between them, in the order of names."""
    ordered = sorted(names)
    if len(ordered) <= size:
        return ordered
    if size <= 1:
        return ordered[:size]
    last = len(ordered) - 1
    return [ordered[index * last // (size - 1)] for index in range(size)]


def sample_images(folder: Path, names: Sequence[str], size: int, log: ProblemLog) -> SampledImages:
    """Open a few images of a session, and read what they tell in their headers.

    The log gets entries for images that cannot be read or tell nothing, and for fields in which
    they differ.
    """
    chosen = choose_sample(names, size)
    code = SessionProblemCode
    found: list[GenerationMetadata] = []
    silent: list[str] = []
    with_alpha: list[str] = []
    for name in chosen:
        try:
            header = read_image_header(folder / name)
        except (ImageHeaderError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            log.add(code.METADATA_UNREADABLE, reason, place=name)
            continue
        own_log = session_log()
        metadata = generation_metadata(header.texts, name, own_log)
        for problem in own_log.entries():
            if problem.code != code.NUMBER_AS_TEXT:  # these texts have their numbers so
                log.add(problem.code, problem.reason, place=problem.place, count=problem.count)
        if metadata is not None:
            found.append(with_size(metadata, header.width, header.height))
        elif header.damage:
            log.add(code.METADATA_UNREADABLE, header.damage, place=name)
        else:
            (with_alpha if header.has_alpha else silent).append(name)
    if silent:
        reason = f"tell nothing of their generation: {some_names(silent)}"
        log.add(code.METADATA_MISSING, reason, count=len(silent))
    if with_alpha:
        reason = (
            "tell nothing in their headers; what may be hidden in their transparency is not read: "
            + some_names(with_alpha)
        )
        log.add(code.METADATA_HIDDEN_IN_PIXELS, reason, count=len(with_alpha))
    _note_differences(found, log)
    return SampledImages(len(chosen), tuple(found))


def _note_differences(found: Sequence[GenerationMetadata], log: ProblemLog) -> None:
    differing = [
        name for name in _COMPARED if len({getattr(item, name) for item in found} - {None}) > 1
    ]
    if differing:
        reason = (
            f"images differ in {', '.join(differing)}: what most of the opened ones say is told"
        )
        log.add(SessionProblemCode.METADATA_DIFFERS, reason, count=len(differing))
