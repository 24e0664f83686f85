"""From the file `manifest.json` to its parts, whatever state the file is in.

Generators write it anew after every image, in place: a reader may meet it empty or cut. A whole and
well-formed file goes through a typed parser that skips what is not needed (prompts of a hundred
thousand images); everything else takes a slower way that salvages what it can.
"""

from __future__ import annotations

import codecs
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tasks.reports.problem_log import ProblemLog
from tasks.sessions.folders.finding import MANIFEST_NAME
from tasks.sessions.folders.regular_files import open_regular_file, read_at
from tasks.sessions.json_values import JsonObject
from tasks.sessions.manifest.salvage import salvage_document
from tasks.sessions.problems import SessionProblemCode, session_log
from tasks.sessions.statistics import LARGEST_SEED

LARGEST_MANIFEST = 512 * 2**20
HEAD_OF_LARGER = 16 * 2**20
"""Bytes of a manifest that are read, and of one that is larger than that."""

# A file written seconds ago that does not parse is being written: it is read again.
_FRESH_SECONDS = 2.0
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.05

# How many ends of objects are tried from the end of a cut list backwards: an image ends with two.
_CLOSINGS = 6

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class ListedImages:
    """The images that a manifest lists.

    Attributes:
        names: the file names, in the manifest's order, without the folders before them.
        seed_min: smallest seed that is one (-1 asks for any); None where no image tells its seed.
    """

    names: list[str]
    seed_min: int | None
    seed_max: int | None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class ManifestParts:
    """The parts of a manifest, of any type as they stand there.

    Attributes:
        snapshot: what the session was asked to be; None where it is missing.
        status: what the generator says of the session.
    """

    snapshot: object
    status: object
    images: ListedImages | None
    is_snapshot_whole: bool = True


class _Image(msgspec.Struct, gc=False):
    filename: str
    seed: int | None = None


class _Manifest(msgspec.Struct):
    snapshot: msgspec.Raw = msgspec.Raw(b"null")
    images: list[_Image] | None = None
    status: str | None = None


_TYPED = msgspec.json.Decoder(_Manifest)


def read_manifest(folder: Path, log: ProblemLog) -> ManifestParts | None:
    """Read the manifest of a session; None where there is none, or nothing in it can be used."""
    code = SessionProblemCode
    for attempt in range(1, _ATTEMPTS + 1):
        own_log = session_log()
        modified = 0.0
        parts = None
        try:
            with open_regular_file(folder / MANIFEST_NAME) as (descriptor, status):
                modified = status.st_mtime
                is_larger = status.st_size > LARGEST_MANIFEST
                content = read_at(descriptor, HEAD_OF_LARGER if is_larger else status.st_size, 0)
        except FileNotFoundError:
            log.add(code.MANIFEST_MISSING, "there is none", place=MANIFEST_NAME)
            return None
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            log.add(code.MANIFEST_UNREADABLE, reason, place=MANIFEST_NAME)
            return None
        parts = parse_manifest(content, own_log)
        del content
        is_broken = any(
            kind in own_log
            for kind in (code.MANIFEST_EMPTY, code.MANIFEST_TRUNCATED, code.MANIFEST_DAMAGED)
        )
        is_fresh = abs(time.time() - modified) < _FRESH_SECONDS
        if not is_broken or is_larger or not is_fresh or attempt == _ATTEMPTS:
            break
        time.sleep(_PAUSE_SECONDS)
    if is_larger:
        reason = f"larger than {LARGEST_MANIFEST:,} bytes: only its beginning was read"
        own_log.add(code.MANIFEST_TOO_LARGE, reason, place=MANIFEST_NAME)
    log.extend(own_log)
    return parts


def parse_manifest(content: bytes, log: ProblemLog) -> ManifestParts | None:
    """Parse the bytes of a manifest; `read_manifest` says the rest."""
    try:
        return _parts_of(_TYPED.decode(content), log)
    except (ValueError, RecursionError) as error:
        is_cut = isinstance(error, msgspec.DecodeError) and "truncated" in str(error)
    parts = _parse_cut_list(content, log) if is_cut else None
    return parts or _parse_slowly(content, log)


def _parts_of(typed: _Manifest, log: ProblemLog, is_whole: bool = True) -> ManifestParts:
    """Take the parts out of what the typed parser read.

    Raises:
        ValueError: the snapshot is no JSON that Python reads.
    """
    # Small, and may hold anything: the wrong types in it are told one by one.
    snapshot = json.loads(bytes(typed.snapshot))
    images = None
    if typed.images is not None:
        names = [image.filename for image in typed.images]
        seeds = (image.seed for image in typed.images if image.seed is not None)
        images = _listed(names, seeds, log, is_whole)
    return ManifestParts(snapshot, typed.status, images)


def _parse_cut_list(content: bytes, log: ProblemLog) -> ManifestParts | None:
    """Parse a manifest that ends in its list of images, closed behind the last whole one; or None.

    That is how a session is met that is being written; a long list takes the slow way ten times
    as long.
    """
    end = len(content)
    for _ in range(_CLOSINGS):
        end = content.rfind(b"}", 0, end)
        # A bracket right behind it ends the list; those in a prompt say nothing.
        if end < 0 or content[end + 1 :].lstrip().startswith(b"]"):
            return None
        try:
            # Within a text or a nested object this parses no better than before.
            parts = _parts_of(_TYPED.decode(content[: end + 1] + b"]}"), log, is_whole=False)
        except (ValueError, RecursionError):
            continue
        _note_truncation(content.count(b"\n") + 1, log)
        return parts
    return None


def _note_truncation(line: int, log: ProblemLog) -> None:
    reason = f"ends in the middle, in line {line}; what is whole before it was used"
    log.add(SessionProblemCode.MANIFEST_TRUNCATED, reason, place=MANIFEST_NAME)


def _parse_slowly(content: bytes, log: ProblemLog) -> ManifestParts | None:
    """Parse a manifest that is damaged, or has something of a wrong type."""
    code = SessionProblemCode
    text = _decode(content, log)
    if not text.strip():
        log.add(code.MANIFEST_EMPTY, "the file is empty", place=MANIFEST_NAME)
        return None
    # Also what is no JSON but often written: NaN, and line ends within texts.
    decoder = json.JSONDecoder(strict=False, parse_int=_whole_number)
    try:
        document = decoder.decode(text)
    except (ValueError, RecursionError):
        return _salvage(text, decoder, log)
    if not isinstance(document, dict):
        reason = f"the file holds {_kind_of(document)} where an object belongs"
        log.add(code.MANIFEST_NOT_AN_OBJECT, reason, place=MANIFEST_NAME)
        return None
    images = _untyped_images(document.get("images"), log)
    return ManifestParts(document.get("snapshot"), document.get("status"), images)


def _salvage(text: str, decoder: json.JSONDecoder, log: ProblemLog) -> ManifestParts | None:
    code = SessionProblemCode
    salvaged = salvage_document(text, decoder)
    if salvaged is None:
        log.add(code.MANIFEST_NOT_JSON, "the file is not JSON", place=MANIFEST_NAME)
        return None
    line = text.count("\n", 0, salvaged.position) + 1
    if salvaged.is_truncated:
        _note_truncation(line, log)
    else:
        reason = f"no JSON from line {line} on; what is whole before it was used"
        log.add(code.MANIFEST_DAMAGED, reason, place=MANIFEST_NAME)
    document, cut = salvaged.document, salvaged.cut_key
    images = _untyped_images(document.get("images"), log, is_whole=cut != "images")
    return ManifestParts(
        document.get("snapshot"), document.get("status"), images, cut != "snapshot"
    )


def _untyped_images(value: object, log: ProblemLog, is_whole: bool = True) -> ListedImages | None:
    """Take names and seeds out of a list that may hold anything."""
    if value is None:
        return None
    place = f"{MANIFEST_NAME}: images"
    holder = JsonObject({}, place, log)
    if not isinstance(value, list):
        holder.refuse("", f"{_kind_of(value)} where a list belongs")
        return None
    names: list[str] = []
    seeds: list[int] = []
    for position, item in enumerate(value):
        if not isinstance(item, dict):
            holder.refuse(f"[{position}]", f"{_kind_of(item)} where an object belongs")
            continue
        image = JsonObject(item, f"{place}[{position}]", log)
        name = item.get("filename")
        if isinstance(name, str):
            names.append(name)
        else:
            image.refuse("filename", f"{_kind_of(name)} where a text belongs")
        seed = image.seed("seed")
        if seed is not None:
            seeds.append(seed)
    return _listed(names, seeds, log, is_whole)


def _listed(
    names: list[str], seeds: Iterable[int], log: ProblemLog, is_whole: bool = True
) -> ListedImages:
    """Strip folders from the names, and find the range of the seeds."""
    for position, name in enumerate(names):
        if "/" in name or "\\" in name:
            names[position] = name.replace("\\", "/").rpartition("/")[2]
    smallest: int | None = None
    largest: int | None = None
    too_large = 0
    for seed in seeds:
        if seed < 0:
            continue  # -1 asked for any; nobody knows which it was
        if seed > LARGEST_SEED:
            too_large += 1
            continue
        if smallest is None or seed < smallest:
            smallest = seed
        if largest is None or seed > largest:
            largest = seed
    if too_large:
        place = f"{MANIFEST_NAME}: images"
        reason = "seeds of more than 64 bits"
        log.add(SessionProblemCode.OUT_OF_RANGE, reason, place=place, count=too_large)
    return ListedImages(names, smallest, largest, is_whole)


def _decode(content: bytes, log: ProblemLog) -> str:
    """Decode UTF-8, or UTF-16 and UTF-32 where a mark or the zero bytes of `{` say so."""
    code = SessionProblemCode
    encoding = "utf-8"
    for mark, marked_encoding in _MARKS:
        if content.startswith(mark):
            content, encoding = content[len(mark) :], marked_encoding
            reason = f"the file begins with the byte order mark of {encoding}"
            log.add(code.MANIFEST_BOM, reason, place=MANIFEST_NAME)
            break
    else:
        if len(content) >= 2 and 0 in content[:2] and any(content[:2]):
            encoding = "utf-16-be" if content[0] == 0 else "utf-16-le"
    if encoding != "utf-8":
        log.add(code.MANIFEST_ENCODING, f"the file is {encoding}", place=MANIFEST_NAME)
    else:
        # Blocks that were never written, after a loss of power.
        content = content.rstrip(b"\0")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        # A character cut at the end of the file is told by the parser: the file is truncated.
        if error.start < len(content) - 4:
            reason = f"byte {error.start} is not {encoding}: {error.reason}"
            log.add(code.MANIFEST_ENCODING, reason, place=MANIFEST_NAME)
        return content.decode(encoding, errors="replace")


def _whole_number(digits: str) -> Any:  # noqa: ANN401 - what the document has
    # Python refuses integers of more than 4300 digits, and is slow before that.
    return int(digits) if len(digits) < 100 else float("inf")


def _kind_of(value: Any) -> str:  # noqa: ANN401 - what the document has
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
    return "nothing" if value is None else kinds.get(type(value), "a number")
