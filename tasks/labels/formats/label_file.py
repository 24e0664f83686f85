"""A label file, and the two shapes that its labels have: of one image, or of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tasks.labels.annotations import Geometry, ImageLabels, Label, label_of_image
from tasks.labels.formats.class_maps import ClassMap
from tasks.labels.formats.json_files import parse_json
from tasks.labels.formats.text_files import decode_text
from tasks.labels.formats.xml_files import XmlDocument, parse_xml
from tasks.labels.geometry import ImageSize, is_acceptable
from tasks.labels.problems import label_log
from tasks.reports.problem_log import Problem, ProblemLog

# Of whole characters in every encoding.
_LOOKED_AT = 1 << 14
_FIRST_OF_MARKS = b"\xef"


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

    def beginning(self) -> bytes:
        """What the file begins with, as UTF-8 with line feeds; all of it where that is cheaper."""
        begins = self.content[:_LOOKED_AT]
        if b"\r" not in begins and b"\0" not in begins and begins[:1] < _FIRST_OF_MARKS:
            return self.content
        return decode_text(begins, label_log()).encode("utf-8", "replace")

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

    `image` is by default the one that the file names. `size`, or what `look_up_size` finds (which
    may open the picture), is used where the file has none.
    `names` are the dataset's, by id; `voc_counts_from_one` is for Pascal VOC's boxes, `class_map`
    for a mask.
    """

    image: PurePosixPath | None = None
    size: ImageSize | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    voc_counts_from_one: bool = True
    class_map: ClassMap | None = None
    look_up_size: Callable[[], ImageSize | None] | None = None

    def find_size(self) -> ImageSize | None:
        """The size of the image, where the file does not say it."""
        return self.size or (self.look_up_size() if self.look_up_size is not None else None)


@dataclass(frozen=True)
class SharedContext:
    """What a reader of the labels of many images is told besides the file.

    `codes` are the names of classes by the codes that the dataset's files give them. `look_up_size`
    tells the size of a picture as it is shown, by the name that the file has for it; None where it
    cannot be read. `read_segments` gives a picture of segments by its name, None where there is
    none.
    """

    codes: Mapping[str, str] = field(default_factory=dict)
    look_up_size: Callable[[PurePosixPath], ImageSize | None] = lambda _: None
    read_segments: Callable[[str], bytes | None] = lambda _: None


NOTHING_MORE = SharedContext()


@dataclass(frozen=True)
class SharedLabels:
    """What a file about many images says.

    `images` has an entry for every image of the file, also without labels, in the order of the
    file; `ImageLabels.image`, the key of `sizes` and `frames`, is the name as written, with forward
    slashes. `sizes` has width and height where the file has them, `frames` the numbers of images
    that are frames of a video and have no other name. `class_names` are by id, in the order of the
    ids; `ordered_classes` are those of a format whose classes have an order and no ids. `problems`
    concern no single image. `has_pixels` says that positions were pixels of these sizes;
    `is_panoptic` that the file divides whole pictures, whose objects others may list better.
    """

    images: tuple[ImageLabels, ...] = ()
    sizes: Mapping[PurePosixPath, ImageSize] = field(default_factory=dict)
    class_names: Mapping[int, str] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    ordered_classes: tuple[str, ...] = ()
    frames: Mapping[PurePosixPath, int] = field(default_factory=dict)
    has_pixels: bool = False
    is_panoptic: bool = False


@dataclass
class ImageObjects:
    """The labels of one image while its objects are read; the parts of an object get a number.

    `size` is None where the file does not say it; `instances` is the highest number that an object
    has.
    """

    image: PurePosixPath
    source: PurePosixPath
    size: ImageSize | None
    labels: list[Label] = field(default_factory=list)
    instances: int = 0
    _log: ProblemLog | None = None

    @property
    def log(self) -> ProblemLog:
        """What is wrong with the labels of this image; most images need none."""
        if self._log is None:
            self._log = label_log(self.source)
        return self._log

    def add(
        self,
        class_name: str,
        geometries: Sequence[Geometry],
        where: str,
        *,
        class_id: int | None = None,
        instance: int | None = None,
        line: int | None = None,
        is_crowd: bool = False,
        annotation_id: str | None = None,
    ) -> None:
        """Take an object in one part or in several; parts that cannot be used are noted.

        `instance` is for objects to which the file gives a number; see `Label` for the others.
        """
        log = self._log or label_log(self.source)
        usable = [one for one in geometries if is_acceptable(one, log, where, line)]
        if self._log is None and log.entries():
            self._log = log
        if instance is None and len(usable) > 1:
            self.instances += 1
            instance = self.instances
        self.labels += [
            Label(class_name, one, class_id, instance, line, is_crowd, annotation_id=annotation_id)
            for one in usable
        ]

    def add_class(
        self, class_name: str, class_id: int | None = None, line: int | None = None
    ) -> None:
        """Take the class of the whole image."""
        self.labels.append(label_of_image(class_name, class_id, line))

    def result(self) -> ImageLabels:
        """All labels, with what is wrong."""
        problems = () if self._log is None else self._log.entries()
        return ImageLabels(self.image, self.source, tuple(self.labels), problems)


ImageReader = Callable[[LabelFile, ImageContext], ImageLabels]
SharedReader = Callable[[LabelFile, SharedContext], SharedLabels]
