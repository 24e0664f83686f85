"""A project, release, session or run as one HTML file to send: pictures inside, no network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from deployments.web.files.pictures import (
    PictureFile,
    kept_thumbnail,
    picture_in_archive,
    picture_in_session,
    picture_of_content,
    picture_of_image,
    thumbnail_in_making,
)
from storage.database.connection import Database
from storage.errors import NotFoundError
from storage.inference.collections import find_collection_file
from storage.inference.results import describe_run
from storage.inference.run_images import RunImageSort, list_run_images
from storage.inference.runs import find_run
from storage.projects.image_details import find_image
from storage.projects.image_pages import ImageFilter, ImageSort, ListedState, load_image_page
from storage.projects.projects import name_project
from storage.projects.quality_overview import load_quality_overview
from storage.releases import describe_release, find_release
from storage.sessions.queries import find_session
from storage.settings import Settings
from tasks.images.thumbnails import THUMBNAIL_PIXELS
from tasks.inference.runs.report import run_report
from tasks.labels.limit_steps import dataset_limits
from tasks.quality.report import quality_report
from tasks.releases.archive.errors import ReleaseError
from tasks.releases.dataset.problem_pictures import (
    MemberPicture,
    ProblemView,
    look_at_problems,
)
from tasks.releases.report import describe_problem, has_keypoints, release_report
from tasks.reports.html_page import report_html
from tasks.reports.report import (
    Drawing,
    Picture,
    Report,
    SentNoun,
    Shape,
    Table,
    count_table,
    counted,
)
from tasks.sessions.manifest.varied_images import list_session_images

_COLOUR = "#d55e00"
MOST_PICTURES = 200
"""Thumbnails of some 10 KB: a file stays below a few megabytes, whatever there is."""


def report_to_send(database: Database, settings: Settings, noun: SentNoun, key: str) -> str:
    """The page of one of these, by its name or id.

    Raises:
        NotFoundError: there is none.
    """
    make = {
        SentNoun.PROJECT: _project,
        SentNoun.RELEASE: _release,
        SentNoun.SESSION: _session,
        SentNoun.RUN: _run,
    }[noun]
    return report_html(make(database, settings, key))


def _project(database: Database, settings: Settings, key: str) -> Report:
    found = name_project(database, key)
    overview = load_quality_overview(database, found.id)
    images = load_image_page(
        database,
        found.id,
        ImageFilter(state=ListedState.PRESENT),
        sort=ImageSort.OVERALL_QUALITY,
        limit=MOST_PICTURES,
    ).images
    named = []
    for image in images:
        quality = image.measures["overall_quality"]
        words = [image.relative_path]
        words += [] if quality is None else [f"quality {quality:.3f}"]
        words += [", ".join(issue.value for issue in image.issues)] if image.issues else []
        picture = picture_of_image(find_image(database, image.id))
        named.append(("; ".join(words), picture))
    report = quality_report(found.name, asdict(overview))
    return _with_pictures(settings, report, named, overview.images)


def _release(database: Database, settings: Settings, key: str) -> Report:
    described = describe_release(database, find_release(database, key))
    report = release_report(described)
    try:
        views = look_at_problems(
            described["model_path"],
            described["problems_json"] or [],
            dataset_limits(),
            has_keypoints=has_keypoints(described["shapes_json"]),
        )
    except ReleaseError as error:
        return replace(report, notes=[*report.notes, str(error)])
    seen = [
        (view, picture)
        for view in views
        for picture in (view.picture, view.other)
        if picture is not None
    ]
    pictures = [
        _picture_of_problem(settings, described["model_path"], view, picture)
        for view, picture in seen[:MOST_PICTURES]
    ]
    notes = [*report.notes]
    if len(seen) > len(pictures):
        notes.append(f"{len(pictures)} of {len(seen)} pictures of problems are on this page.")
    return replace(report, notes=notes, pictures=[*report.pictures, *pictures])


def _picture_of_problem(
    settings: Settings, archive: Path, view: ProblemView, picture: MemberPicture
) -> Picture:
    """A small picture with the row that a problem is about, or one of a pair."""
    told = describe_problem(view.problem)
    title = f"{view.problem['code']}: {told}" if picture is view.picture else picture.name
    content = _small(settings, picture_in_archive(archive, picture))
    if view.outline is None or not picture.width or not picture.height:
        return Picture(title, content)
    scale = THUMBNAIL_PIXELS / max(picture.width, picture.height)
    width, height = round(picture.width * scale), round(picture.height * scale)
    points = [(x * width, y * height) for x, y in view.outline]
    shape = Shape([points], _COLOUR, view.row or "")
    return Picture(title, content, Drawing(content, max(width, 1), max(height, 1), [shape]))


def _run(database: Database, settings: Settings, key: str) -> Report:
    run = find_run(database, key)
    described = describe_run(database, run)
    named = []
    found = list_run_images(database, run.id, sort=RunImageSort.OBJECTS, limit=MOST_PICTURES)
    for _, image in found:
        file = find_collection_file(database, run.collection_id, image.image_id)
        counts = image.class_counts or {}
        told = ", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing"
        named.append((f"{image.name}: {told}", picture_of_content(file)))
    return _with_pictures(settings, run_report(described), named, run.processed_count)


def _session(database: Database, settings: Settings, key: str) -> Report:
    session = find_session(database, key)
    folder = Path(session["session_path"])
    notes, images = [], []
    try:
        images = list_session_images(folder)
    except NotFoundError as error:
        notes = [str(error)]
    expected, actual = session["images_expected"], counted(session["images_actual"], "image")
    share = f" of {expected} expected, {session['completion_percentage']:g} %" if expected else ""
    sentences = [
        f"{actual}{share}.",
        *(
            f"{title}: {session[name]}"
            for title, name in (
                ("Model", "sd_model"),
                ("Prompt", "resolved_prompt"),
                ("Negative prompt", "negative_prompt"),
                ("Note", "note"),
            )
            if session[name]
        ),
    ]
    report = Report(
        f"Session {key}",
        sentences,
        [
            count_table("Placeholders", session["placeholders_json"], "placeholder", "values"),
            Table(
                "Problems",
                ("problem", "where", "what", "times"),
                [
                    (one["code"], one.get("place", ""), one.get("reason", ""), str(one["count"]))
                    for one in session["problems"]
                ],
            ),
        ],
        notes=notes,
        places=[("folder", str(folder))],
    )
    named = []
    for image in images[:MOST_PICTURES]:
        words = [*([] if image.seed is None else [f"seed {image.seed}"]), *image.values.values()]
        picture = picture_in_session(folder, image.name)
        if picture is not None:
            named.append(("; ".join([image.name, *words]), picture))
    return _with_pictures(settings, report, named, len(images))


def _with_pictures(
    settings: Settings, report: Report, named: Iterable[tuple[str, PictureFile]], total: int
) -> Report:
    """A report with small pictures of some of `total` images, which says how many it lacks."""
    pictures = []
    for title, picture in named:
        pictures.append(Picture(title, _small(settings, picture)))
    left = total - len(pictures)
    notes = [*report.notes]
    if left > 0:
        notes.append(f"Pictures of {len(pictures)} of {total} images are on this page.")
    return replace(report, notes=notes, pictures=[*report.pictures, *pictures])


def _small(settings: Settings, picture: PictureFile) -> bytes:
    small = kept_thumbnail(settings, picture.sha256)
    return (small or thumbnail_in_making(settings, picture).result()).content
