"""A label file, and the two shapes that its labels have: of one image, or of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType

from tasks.labels.annotations import ImageLabels
from tasks.labels.formats.json_files import parse_json
from tasks.labels.formats.text_files import decode_text
from tasks.labels.formats.xml_files import XmlDocument, parse_xml
from tasks.labels.geometry import ImageSize
from tasks.labels.problems import label_log
from tasks.reports.problem_log import Problem, ProblemLog


class LabelFile:
    """The path and the content of a label file, which is parsed at most once.

    What is wrong with its text, its JSON or its XML is noted in the log of each call.
    """

    def __init__(self, path: PurePosixPath | str, content: bytes) -> None:
        self.path = PurePosixPath(path)
        self.content = content
        self._text: tuple[str, ProblemLog] | None = None
        self._json: tuple[object, ProblemLog] | None = None
        self._xml: tuple[XmlDocument | None, ProblemLog] | None = None

    def text(self, log: ProblemLog) -> str:
        """The decoded text."""
        if self._text is None:
            own = label_log(self.path)
            self._text = decode_text(self.content, own), own
        log.extend(self._text[1])
        return self._text[0]

    def json(self, log: ProblemLog) -> object:
        """The JSON document; None where it is none."""
        if self._json is None:
            own = label_log(self.path)
            self._json = parse_json(self.content, own), own
        log.extend(self._json[1])
        return self._json[0]

    def xml(self, log: ProblemLog) -> XmlDocument | None:
        """The XML document; None where it is none, or has a document type."""
        if self._xml is None:
            own = label_log(self.path)
            self._xml = parse_xml(self.content, own), own
        log.extend(self._xml[1])
        return self._xml[0]


@dataclass(frozen=True)
class ImageContext:
    """What a reader of one image's labels is told besides the file.

    `image` is by default the one that the file names, `size` is used where the file has none.
    `names` are the dataset's, by id; `voc_counts_from_one` is for Pascal VOC's boxes.
    """

    image: PurePosixPath | None = None
    size: ImageSize | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    voc_counts_from_one: bool = True


@dataclass(frozen=True)
class SharedLabels:
    """What a file about many images says.

    `images` has an entry for every image of the file, also without labels, in the order of the
    file; `ImageLabels.image`, the key of `sizes` and `frames`, is the name as written, with forward
    slashes. `sizes` has width and height where the file has them, `frames` the numbers of images
    that are frames of a video and have no other name. `class_names` are by id, in the order of the
    ids; `ordered_classes` are those of a format whose classes have an order and no ids. `problems`
    concern no single image.
    """

    images: tuple[ImageLabels, ...] = ()
    sizes: Mapping[PurePosixPath, ImageSize] = field(default_factory=dict)
    class_names: Mapping[int, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    ordered_classes: tuple[str, ...] = ()
    frames: Mapping[PurePosixPath, int] = field(default_factory=dict)


ImageReader = Callable[[LabelFile, ImageContext], ImageLabels]
NO_CODES: Mapping[str, str] = MappingProxyType({})
SharedReader = Callable[[LabelFile, Mapping[str, str]], SharedLabels]
"""Gets the names of classes by the codes that the dataset's files give them, if any do."""
