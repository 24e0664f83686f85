"""Many images: what happens to one is its own affair; memory that runs out halves batches."""

import hashlib
import shutil
import threading

import cv2
import numpy as np
import pytest

from storage.errors import ImageError, ImageErrorCode
from tasks.images.files import ImageLimits
from tasks.inference.detection.engine import Model
from tasks.inference.detection.image_stream import (
    ModelTurns,
    RegisteredContent,
    detect_in_files,
    is_out_of_memory,
)
from tasks.inference.detections import ModelError
from tests.tasks.inference.conftest import PICTURES, pixels_of


class FailingModel(Model):
    """The sample model, with a failure where `fails` says so for the prepared pictures."""

    def __init__(self, model, fails):
        super().__init__(model._session, model.description, model.settings)
        self.fails = fails
        self.sizes = []

    def detect_prepared(self, pictures):
        self.sizes.append(len(pictures))
        self.fails(pictures)
        return super().detect_prepared(pictures)


def summaries(outcomes):
    return {
        outcome.position: [
            (d.class_id, round(d.confidence, 4)) for d in outcome.detections.detections
        ]
        for outcome in outcomes
        if outcome.error is None
    }


@pytest.fixture
def reference(mussel_model):
    return {
        position: [
            (d.class_id, round(d.confidence, 4))
            for d in mussel_model.detect(pixels_of(file)).detections
        ]
        for position, file in enumerate(PICTURES)
    }


@pytest.mark.parametrize(("threads", "batch_size"), [(1, 1), (2, 1), (3, 5)])
def test_threads_and_batches_do_not_change_what_is_found(
    threads, batch_size, mussel_model, reference
):
    outcomes = list(detect_in_files(mussel_model, PICTURES, threads=threads, batch_size=batch_size))
    assert sorted(outcome.position for outcome in outcomes) == list(range(len(PICTURES)))
    assert summaries(outcomes) == reference
    assert all(outcome.inference_ms > 0 for outcome in outcomes)


def test_images_of_many_shapes_go_through_in_one_batch(mussel_model, tmp_path):
    files = []
    for number, (width, height) in enumerate([(320, 256), (200, 300), (320, 256), (90, 320)]):
        picture = cv2.resize(cv2.imread(str(PICTURES[0])), (width, height))
        files.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(files[-1]), picture)
    outcomes = {o.position: o for o in detect_in_files(mussel_model, files, batch_size=4)}
    sizes = [(outcomes[n].detections.width, outcomes[n].detections.height) for n in range(4)]
    assert sizes == [(320, 256), (200, 300), (320, 256), (90, 320)]


def test_files_that_cannot_be_read_have_an_error_and_stop_no_other(
    mussel_model, reference, tmp_path
):
    truncated, empty, text = (tmp_path / name for name in ("cut.jpg", "empty.jpg", "text.jpg"))
    truncated.write_bytes(PICTURES[1].read_bytes()[:6000])
    empty.touch()
    text.write_text("This is a text and no picture, whatever its name says.")
    files = [PICTURES[0], tmp_path / "missing.jpg", truncated, empty, text, PICTURES[5]]
    outcomes = {o.position: o for o in detect_in_files(mussel_model, files)}
    codes = [outcomes[number].error.code for number in range(1, 5)]
    assert codes == [
        ImageErrorCode.MISSING,
        ImageErrorCode.TRUNCATED,
        ImageErrorCode.EMPTY,
        ImageErrorCode.NOT_AN_IMAGE,
    ]
    assert all(outcomes[number].detections is None for number in range(1, 5))
    assert summaries([outcomes[0], outcomes[5]]) == {0: reference[0], 5: reference[5]}


def test_images_beyond_the_limits_are_refused_before_decoding(mussel_model):
    (outcome,) = detect_in_files(mussel_model, PICTURES[:1], limits=ImageLimits(max_pixels=1000))
    assert outcome.error.code is ImageErrorCode.TOO_LARGE


def test_a_model_that_fails_on_one_image_of_a_batch_fails_on_that_one_only(mussel_model, reference):
    bad = mussel_model.prepare(pixels_of(PICTURES[4])).values

    def fails(pictures):
        if any(np.array_equal(picture.values, bad) for picture in pictures):
            raise RuntimeError("Non-zero status code\nreturned while running Conv")

    model = FailingModel(mussel_model, fails)
    outcomes = list(detect_in_files(model, PICTURES, batch_size=6))
    (failed,) = (outcome for outcome in outcomes if outcome.error)
    assert failed.position == 4
    assert isinstance(failed.error, ModelError)
    assert str(failed.error) == (
        "the model failed on this image: Non-zero status code returned while running Conv"
    )
    assert summaries(outcomes) == {key: value for key, value in reference.items() if key != 4}


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory."), RuntimeError("std::bad_alloc")]
)
def test_memory_that_runs_out_halves_the_batch(error, mussel_model, reference):
    def fails(pictures):
        if len(pictures) > 2:
            raise error

    model = FailingModel(mussel_model, fails)
    outcomes = list(detect_in_files(model, PICTURES[:8], threads=1, batch_size=8))
    assert model.sizes == [8, 4, 2, 2, 4, 2, 2]
    assert summaries(outcomes) == {position: reference[position] for position in range(8)}


def test_an_image_that_needs_too_much_memory_is_run_once_more_alone(mussel_model):
    def fails(pictures):
        raise MemoryError

    model = FailingModel(mussel_model, fails)
    outcomes = list(detect_in_files(model, PICTURES[:3], threads=2))
    assert [type(outcome.error) for outcome in outcomes] == [ImageError] * 3
    assert {outcome.error.code for outcome in outcomes} == {ImageErrorCode.OUT_OF_MEMORY}
    assert model.sizes == [1] * 6


def test_no_image_is_begun_after_the_stop_or_after_closing(mussel_model, tmp_path):
    files = []
    for number in range(40):
        files.append(tmp_path / f"{number}.jpg")
        shutil.copy(PICTURES[0], files[-1])
    done = []
    for outcome in detect_in_files(mussel_model, files, should_stop=lambda: len(done) >= 3):
        done.append(outcome)
    assert 3 <= len(done) < 12
    stream = detect_in_files(mussel_model, files)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("inference")]


def test_no_images_give_no_outcomes(mussel_model):
    assert list(detect_in_files(mussel_model, [])) == []


def test_only_words_about_memory_are_about_memory():
    assert is_out_of_memory(RuntimeError("Failed to allocate memory for requested buffer"))
    assert not is_out_of_memory(RuntimeError("invalid shape"))


def test_a_registered_content_is_read_where_it_lies_unchanged(mussel_model, reference, tmp_path):
    sha256 = hashlib.sha256(PICTURES[1].read_bytes()).hexdigest()
    files = [
        RegisteredContent((tmp_path / "moved.jpg", PICTURES[0], PICTURES[1]), sha256),
        RegisteredContent((PICTURES[0], PICTURES[2]), sha256),
        RegisteredContent((tmp_path / "gone.jpg",), sha256),
    ]
    outcomes = {o.position: o for o in detect_in_files(mussel_model, files)}
    assert summaries([outcomes[0]]) == {0: reference[1]}
    assert outcomes[1].error.code is ImageErrorCode.CHANGED
    assert outcomes[2].error.code is ImageErrorCode.MISSING


def test_callers_that_share_turns_leave_an_image_alone_that_needs_all_memory(
    mussel_model, reference
):
    at_work, most, lock = [], [], threading.Lock()

    def fails(pictures):
        with lock:
            at_work.append(1)
            first = len(most) == 0
            most.append(len(at_work))
        try:
            if first:
                raise MemoryError
        finally:
            with lock:
                at_work.pop()

    model = FailingModel(mussel_model, fails)
    turns = ModelTurns(2)
    found = []

    def work(number):
        outcomes = detect_in_files(model, PICTURES[number : number + 1], threads=1, turns=turns)
        found.extend((number, summaries([outcome])[0]) for outcome in outcomes)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert dict(found) == {number: reference[number] for number in range(3)}
