"""The masks of a dataset that are pictures: which images they belong to, and their classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

from tasks.images.mask_folders import MaskFolder, image_stems
from tasks.labels.formats.class_maps import ClassMap, read_class_map
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import Problem


class DatasetMasks:
    """The pictures among the files of a dataset that are masks of others."""

    def __init__(self, masks: Mapping[str, MaskFolder]) -> None:
        # Files about many images read those of panoptic files.
        self._masks = {path: one for path, one in masks.items() if not one.is_panoptic}
        self._maps: dict[str, ClassMap] = {}
        self.problems: tuple[Problem, ...] = ()

    def pair(
        self,
        labels: Mapping[str, bool],
        read: Callable[[str], bytes | None],
    ) -> dict[str, str]:
        """Find the mask of each image that has no other label, by the path of the image.

        `labels` says of each image whether it has another label; `read` returns a class map.
        """
        if not self._masks:
            return {}
        log = label_log()
        wanted = {one.images for one in self._masks.values()}
        images = {
            path.rpartition(".")[0]: path for path in labels if path.rpartition("/")[0] in wanted
        }
        pairs: dict[str, str] = {}
        unread: Counter[tuple[str, str]] = Counter()
        for path, folder in sorted(self._masks.items()):
            own, _, name = path.rpartition("/")
            if not folder.has_classes or folder.class_map is None or not path.endswith(".png"):
                unread[own, _why_unread(folder)] += 1
                continue
            stems = image_stems(name.rpartition(".")[0])
            before = f"{folder.images}/" if folder.images else ""
            image = next((one for stem in stems if (one := images.get(f"{before}{stem}"))), None)
            if image is None:
                log.add(ProblemCode.ORPHAN_LABEL, "belongs to no image", place=path)
            elif labels[image]:
                unread[own, "their images have other labels"] += 1
            else:
                pairs[image] = path
        for (own, why), count in sorted(unread.items()):
            reason = f"{count} masks were not read: {why}"
            log.add(ProblemCode.LABEL_FILE_UNREAD, reason, place=own, count=count)
        for class_map in {one.class_map for one in self._masks.values() if one.class_map}:
            content = read(class_map) if pairs else None
            if content is not None:
                self._maps[class_map] = read_class_map(content, PurePosixPath(class_map))
        self.problems = log.entries()
        return pairs

    def class_map_of(self, mask: str) -> ClassMap | None:
        """The classes of a mask."""
        folder = self._masks.get(mask)
        return self._maps.get(folder.class_map or "") if folder else None


def _why_unread(folder: MaskFolder) -> str:
    if not folder.has_classes:
        return "their pixels have numbers of objects and no classes"
    if folder.class_map is None:
        return "there is no labelmap.txt, label_colors.txt or class_dict.csv that names classes"
    return "they are no .png files"
