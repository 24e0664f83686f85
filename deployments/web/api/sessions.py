"""Sessions of image generation: list, show, compute, say something of them, their images."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from deployments.web.api.jobs import Job
from deployments.web.dependencies import (
    CursorQuery,
    DatabaseDependency,
    LimitQuery,
    SettingsDependency,
)
from deployments.web.envelope import Answer, Page, answer, decode_cursor, encode_cursor
from deployments.web.errors import problems
from deployments.web.files.picture_answers import add_picture_routes
from deployments.web.files.pictures import PictureFile, picture_in_session
from deployments.web.starting import start_flow
from storage.database.tables.jobs import JobKind
from storage.database.tables.sessions import SessionFolderState
from storage.errors import ConfigurationError, InvalidInputError, NotFoundError
from storage.records import SessionManifestStatus, SessionStatsSource
from storage.sessions.queries import SessionFilter, SessionPlace, find_session, list_sessions
from storage.sessions.root import resolve_sessions_root
from storage.sessions.sessions import edit_session
from tasks.sessions.manifest.varied_images import count_values, read_varied_images

router = APIRouter(tags=["sessions"])

SessionPath = Annotated[
    str, Path(max_length=4000, description="Id of the session; it may have slashes.")
]
Word = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
Text = Annotated[str | None, Query(max_length=4000)]


class Session(BaseModel):
    """A session with the figures that people look at first."""

    session_id: str = Field(description="Its id: the path of its folder below the root.")
    session_path: str = Field(description="Its folder on the server.")
    sd_model: str | None = Field(description="The checkpoint that made its images.")
    images_actual: int = Field(description="How many images its folder holds.")
    images_expected: int = Field(description="How many were promised; 0 where nothing tells.")
    completion_percentage: float = Field(
        description="Actual of expected in percent; above 100 where there are more than expected."
    )
    is_seed_sweep: bool = Field(description="It tries seeds rather than prompts.")
    is_ongoing: bool = Field(description="It may still be written.")
    manifest_status: SessionManifestStatus | None = Field(description="What the generator says.")
    stats_source: SessionStatsSource = Field(description="What told all but the counts.")
    session_created_at: datetime | None = Field(description="The time in the folder's name.")
    first_image_created_at: datetime | None = Field(description="When its oldest image was made.")
    folder_state: SessionFolderState = Field(description="Whether its folder was there last.")
    tags: list[str] = Field(description="People's words for it.")
    flags: list[str] = Field(description="Likewise.")
    rating: int | None = Field(description="1 to 5.")
    problem_count: int = Field(description="How many kinds of problems it has.")


class SessionProblem(BaseModel):
    """Something wrong in a session."""

    code: str = Field(description="What it is, as docs/reference/problems.md lists it.")
    place: str = Field(default="", description="Where.")
    reason: str = Field(default="", description="What exactly.")
    count: int = Field(default=1, description="How often.")


class SessionDetails(Session):
    """All that is known of a session."""

    sd_model_hash: str | None = Field(description="The hash of the checkpoint.")
    template_version: str | None = Field(description="Of the system that wrote the manifest.")
    generation_mode: str | None = Field(description="Combinatorial, random, or else.")
    seed_mode: str | None = Field(description="Fixed, progressive, random, or else.")
    seed_base: int | None = Field(description="The seed asked for; -1 asks for random ones.")
    seed_min: int | None = Field(description="Smallest seed of its images.")
    seed_max: int | None = Field(description="Largest seed of its images.")
    resolved_prompt: str | None = Field(description="The prompt, with its placeholders.")
    negative_prompt: str | None = Field(description="The negative prompt.")
    width: int | None = Field(description="Pixels asked for.")
    height: int | None = Field(description="Pixels asked for.")
    steps: int | None = Field(description="Sampling steps.")
    cfg_scale: float | None = Field(description="Classifier-free guidance scale.")
    sampler_name: str | None = Field(description="The sampler.")
    placeholders_json: dict[str, int] = Field(description="Used values of each placeholder.")
    variations_summary_json: dict[str, list[str]] = Field(
        description="The first ten used values of each placeholder."
    )
    manifest_generated_at: datetime | None = Field(description="The time in the manifest.")
    last_image_created_at: datetime | None = Field(description="When its newest image was made.")
    stats_computed_at: datetime = Field(description="When all of this was computed.")
    stats_version: int = Field(description="Of the rules that computed it.")
    images_listed: int | None = Field(description="Images that the manifest lists.")
    images_listed_absent: int | None = Field(description="Of them, those not in the folder.")
    images_unlisted: int | None = Field(description="Images of the folder that it does not list.")
    images_sampled: int = Field(description="Images opened where no manifest tells.")
    missing_since: datetime | None = Field(description="When its folder was first gone.")
    sessions_root: str = Field(description="The folder of sessions that it was found in.")
    error_message: str | None = Field(description="Why the last look at it failed.")
    note: str = Field(description="What people have written about it.")
    problems: list[SessionProblem] = Field(description="What is wrong with it.")


class SessionEdit(BaseModel):
    """What is to be said of a session; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"add_tags": ["keep"], "rating": 4, "note": "sharp"}]},
    )

    add_tags: list[Word] = Field(default=[], max_length=100, description="Tags to add.")
    remove_tags: list[Word] = Field(default=[], max_length=100, description="Tags to remove.")
    add_flags: list[Word] = Field(default=[], max_length=100, description="Flags to add.")
    remove_flags: list[Word] = Field(default=[], max_length=100, description="Flags to remove.")
    rating: int | None = Field(
        default=None, ge=1, le=5, description="1 to 5; an explicit null takes it back."
    )
    note: str | None = Field(
        default=None, max_length=20_000, description="A note instead of the one before."
    )


class SessionsRefresh(BaseModel):
    """Which sessions are to be looked at."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"sessions_root": "/sessions"}]}
    )

    sessions_root: str | None = Field(
        default=None,
        max_length=4000,
        description="Folder of sessions inside the data roots; left out, the configured one.",
    )
    session_ids: list[Annotated[str, Field(max_length=4000)]] | None = Field(
        default=None, max_length=1000, description="Only these sessions; left out, all."
    )
    force_refresh: bool = Field(default=False, description="Compute all again, changed or not.")
    stats_without_manifest: bool = Field(
        default=True, description="Also sessions without a manifest, from images and folder."
    )
    accept_losses: bool = Field(
        default=False, description="Go on although more than half of the sessions are gone."
    )
    batch_size: int = Field(default=50, ge=1, le=1000, description="Sessions stored at a time.")


class SessionImage(BaseModel):
    """An image of a session."""

    name: str = Field(description="Name of its file in the folder of the session.")
    seed: int | None = Field(description="The seed that made it.")
    values: dict[str, str] = Field(description="The value of each placeholder that it shows.")


class PlaceholderValue(BaseModel):
    """A value of a placeholder."""

    value: str = Field(description="The text that was put in its place.")
    image_count: int = Field(description="How many images of the session show it.")


class SessionImages(Page[SessionImage]):
    """Images of a session by the values of its placeholders."""

    placeholders: dict[str, list[PlaceholderValue]] = Field(
        description="Of the whole session: for each placeholder its values, at most 1,000."
    )


@router.get("/sessions", responses=problems())
def list_all_sessions(
    database: DatabaseDependency,
    model: Annotated[
        Text, Query(description="Only this model, with or without `.safetensors`.")
    ] = None,
    incomplete: Annotated[bool, Query(description="Only with fewer images than expected.")] = False,
    sweeps: Annotated[bool, Query(description="Only seed sweeps.")] = False,
    ongoing: Annotated[bool, Query(description="Only those that may still be written.")] = False,
    since: Annotated[
        datetime | None,
        Query(description="Only those that began then or later; UTC where no zone is named."),
    ] = None,
    tag: Annotated[Text, Query(description="Only those with this tag.")] = None,
    root: Annotated[Text, Query(description="Only those found in this folder.")] = None,
    missing: Annotated[bool, Query(description="Also those whose folders are gone.")] = False,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[Page[Session]]:
    """List sessions, the newest first; those whose time nobody knows come last."""
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    chosen = SessionFilter(
        model=model,
        incomplete=incomplete,
        sweeps=sweeps,
        ongoing=ongoing,
        since=since,
        tag=tag,
        root=root,
        include_missing=missing,
    )
    after: SessionPlace | None = decode_cursor(cursor, tuple[datetime | None, str])
    found = list_sessions(database, chosen, limit=limit + 1, after=after)
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        began = last["session_created_at"]
        following = encode_cursor([began and began.isoformat(), last["session_id"]])
    items = [Session(**row) for row in found[:limit]]
    return answer(Page[Session](items=items, next=following))


@router.post("/sessions/stats/refresh", status_code=202, responses=problems(404))
def refresh_session_stats(
    database: DatabaseDependency, settings: SettingsDependency, body: SessionsRefresh | None = None
) -> Answer[Job]:
    """Have new and changed sessions of a folder computed; the subject of the job is the folder."""
    wanted = body or SessionsRefresh()
    try:
        root = resolve_sessions_root(wanted.sessions_root, wanted.session_ids, for_deployment=True)
    except ConfigurationError as error:
        raise InvalidInputError(str(error)) from error
    parameters: dict[str, Any] = {**wanted.model_dump(), "sessions_root": root}
    others = {name: value for name, value in parameters.items() if name != "sessions_root"}
    started = start_flow(
        database,
        settings,
        "compute-session-stats",
        parameters,
        kind=JobKind.SESSION_STATS,
        subject=root,
        job_parameters=others,
    )
    said = "The sessions are being read." if started.is_new else "They are being read already."
    return answer(Job.of(started.job), said)


@router.get("/session-images", responses=problems(404))
def list_session_images(
    database: DatabaseDependency,
    session_id: Annotated[str, Query(max_length=4000, description="Id of the session.")],
    placeholder: Annotated[
        Text, Query(description="Only images that show a value of this placeholder.")
    ] = None,
    value: Annotated[
        str | None,
        Query(max_length=20_000, description="And of it, only those that show this value."),
    ] = None,
    cursor: CursorQuery = None,
    limit: LimitQuery = 50,
) -> Answer[SessionImages]:
    """List the images of a session that are in its manifest and folder, in the manifest's order.

    With a placeholder and a value: what makes one variation, to be seen beside the others.
    """
    if value is not None and placeholder is None:
        raise InvalidInputError("Name the placeholder that the value is of.")
    after = decode_cursor(cursor, tuple[int])
    session = find_session(database, session_id)
    images = read_varied_images(FilePath(session["session_path"]))
    chosen = [
        image
        for image in images
        if image.position > (-1 if after is None else after[0])
        and (placeholder is None or placeholder in image.values)
        and (value is None or image.values.get(placeholder or "") == value)
    ]
    following = encode_cursor([chosen[limit - 1].position]) if len(chosen) > limit else None
    return answer(
        SessionImages(
            items=[
                SessionImage(name=image.name, seed=image.seed, values=dict(image.values))
                for image in chosen[:limit]
            ],
            next=following,
            placeholders={
                name: [
                    PlaceholderValue(value=one, image_count=count) for one, count in counts.items()
                ]
                for name, counts in count_values(images).items()
            },
        )
    )


SessionKey = Annotated[str, Query(max_length=4000, description="Id of the session.")]
ImageName = Annotated[str, Query(max_length=4000, description="Name of a file in its folder.")]


def _picture(database: DatabaseDependency, session_id: SessionKey, name: ImageName) -> PictureFile:
    folder = FilePath(find_session(database, session_id)["session_path"])
    picture = picture_in_session(folder, name)
    if picture is None:
        raise NotFoundError(f"The session {session_id} has no image {name!r}.")
    return picture


add_picture_routes(router, "/session-images", _picture, name="session_")


@router.get("/sessions/{session_id:path}", responses=problems(404))
def show_session(database: DatabaseDependency, session_id: SessionPath) -> Answer[SessionDetails]:
    """Show all that is known of a session."""
    return answer(_details(find_session(database, session_id)))


@router.patch("/sessions/{session_id:path}", responses=problems(404))
def edit_one_session(
    database: DatabaseDependency, session_id: SessionPath, body: SessionEdit
) -> Answer[SessionDetails]:
    """Change tags, flags, rating and note of a session; no flow changes these."""
    edit_session(
        database,
        session_id,
        add_tags=body.add_tags,
        remove_tags=body.remove_tags,
        add_flags=body.add_flags,
        remove_flags=body.remove_flags,
        rating=body.rating,
        clear_rating="rating" in body.model_fields_set and body.rating is None,
        note=body.note,
    )
    return answer(_details(find_session(database, session_id)))


def _details(row: dict[str, Any]) -> SessionDetails:
    return SessionDetails(**{**row, "problem_count": len(row["problems"])})
