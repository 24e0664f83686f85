"""XML label files: parsing them without anything that attacks, with the lines of elements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from tasks.labels.formats.text_files import decode_text
from tasks.labels.problems import ProblemCode, label_log
from tasks.reports.problem_log import ProblemLog

MAX_XML_DEPTH = 50
MAX_XML_ELEMENTS = 10_000_000
# Objects lie directly below the root, or below the image or track that they belong to.
_DEEPEST_LINES = 3


@dataclass(frozen=True)
class XmlDocument:
    """A parsed document; `lines` has the elements down to the third level."""

    root: Element
    lines: Mapping[Element, int]


def parse_xml(content: bytes, log: ProblemLog) -> XmlDocument | None:
    """Parse a document; None, with an entry, for what is no XML or has a document type.

    With the document type, entities and everything external are refused. UTF-32, which the
    parser does not know, is read as `decode_text` reads it.
    """
    own = label_log(log.place)
    document = _parse(content, own)
    if document is None and own.totals.get(ProblemCode.XML_UNREADABLE):
        encoding = label_log(log.place)
        text = decode_text(content, encoding)
        if ProblemCode.ENCODING_UTF32 in encoding.totals:
            own = encoding
            document = _parse(text.encode("utf-8", "replace"), own, "utf-8")
    log.extend(own)
    return document


def _parse(content: bytes, log: ProblemLog, encoding: str | None = None) -> XmlDocument | None:
    """Parse a document in an encoding, by default the one that it declares."""
    builder = TreeBuilder()
    # Not the parser of ElementTree: it expands entities before anybody can refuse them.
    parser = expat.ParserCreate(encoding)
    lines: dict[Element, int] = {}
    depth = count = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, count
        depth, count = depth + 1, count + 1
        if depth > MAX_XML_DEPTH:
            raise ValueError("nested too deeply")
        if count > MAX_XML_ELEMENTS:
            raise ValueError(f"more than {MAX_XML_ELEMENTS} elements")
        element = builder.start(tag, attributes)
        if depth <= _DEEPEST_LINES:
            lines[element] = parser.CurrentLineNumber

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise ValueError("it has a document type, which label files do not need")

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return XmlDocument(builder.close(), lines)
    except expat.ExpatError as error:
        reason = f"not XML: {expat.ErrorString(error.code)}"
        log.add(ProblemCode.XML_UNREADABLE, reason, error.lineno)
    except (ValueError, LookupError) as error:
        # Also an encoding that expat does not know.
        log.add(ProblemCode.XML_UNREADABLE, f"refused: {error}", parser.CurrentLineNumber)
    return None


def text_of(element: Element, path: str) -> str:
    """Return the text of an element below, "" where there is none."""
    return (element.findtext(path) or "").strip()


def number_of(text: str | None) -> float | None:
    """Read a finite number, else None."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
