"""The sample pictures are those that the script draws, and their counts are true."""

import importlib
import json

import cv2
import numpy as np
import pytest

from tests.places import MUSSELS

SEED = 16


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(MUSSELS)
    return importlib.import_module("draw_mussels")


def test_the_script_draws_the_sample_pictures_again_with_their_counts(script, tmp_path):
    script.write_pictures(tmp_path, 4, SEED)
    counts = json.loads((MUSSELS / "pictures" / "counts.json").read_text(encoding="utf-8"))
    drawn = json.loads((tmp_path / "counts.json").read_text(encoding="utf-8"))
    assert drawn == {name: counts[name] for name in drawn}
    for name in drawn:
        again = cv2.imread(str(tmp_path / "images" / name)).astype(int)
        kept = cv2.imread(str(MUSSELS / "pictures" / name)).astype(int)
        # Other versions of the drawing library may smooth an edge differently.
        assert np.abs(again - kept).mean() < 1


def test_labels_outline_what_can_be_seen_of_each_mussel(script):
    picture, mussels = script.draw_scene(np.random.default_rng(3), 9)
    assert picture.shape == (script.HEIGHT, script.WIDTH, 3)
    assert len(mussels) > 4
    together = sum(mussel.visible.astype(int) for mussel in mussels)
    assert together.max() == 1  # nothing is seen twice
    assert all(mussel.visible.sum() > 100 for mussel in mussels)
