"""Names of images in a release are safe everywhere, and each once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.releases.making.member_names import name_images, safe_stem


@pytest.mark.parametrize(
    ("stem", "safe"),
    [
        ("photo 1", "photo 1"),
        ("Häuser", "Häuser"),
        ("Ha\u0308user", "Häuser"),
        ("a:b?c\\d", "a_b_c_d"),
        ("line\nbreak\udce4", "line_break_"),
        ("CON", "_CON"),
        ("nul.1", "_nul.1"),
        ("console", "console"),
        (".hidden", "_.hidden"),
        ("dots...", "dots"),
        ("...", "_"),
        ("ä" * 200, "ä" * 90),
    ],
)
def test_names_are_made_safe(stem, safe):
    assert safe_stem(stem) == safe


def test_images_that_would_share_a_label_file_get_names_of_their_own():
    names = name_images(
        {
            "one/001.jpg": ("001.jpg", "aaaaaaaa11"),
            "two/001.JPG": ("001.JPG", "bbbbbbbb22"),
            "two/001.png": ("001.png", "cccccccc33"),
            "two/002.JPEG": ("002.JPEG", "dddddddd44"),
            "A.jpg": ("A.jpg", "eeeeeeee55"),
            "a.jpg": ("a.jpg", "eeeeeeee55"),
        }
    )
    assert names == {
        "one/001.jpg": "001_aaaaaaaa.jpg",
        "two/001.JPG": "001_bbbbbbbb.jpg",
        "two/001.png": "001_cccccccc.png",
        "two/002.JPEG": "002.jpeg",
        "A.jpg": "A_eeeeeeee.jpg",
        "a.jpg": "a_eeeeeeee_2.jpg",
    }


PIECES = st.text(st.sampled_from('aA_1.: "\n\udcff'), min_size=1, max_size=6)


@given(st.lists(st.tuples(PIECES, st.sampled_from(["a" * 8, "1" * 8])), max_size=12))
def test_no_two_images_share_a_stem_whatever_they_are_called(images):
    given_names = {
        f"{number}": (f"{stem}.jpg", digest) for number, (stem, digest) in enumerate(images)
    }
    names = name_images(given_names)
    assert set(names) == set(given_names)
    stems = [name.removesuffix(".jpg").casefold() for name in names.values()]
    assert len(set(stems)) == len(stems)
    for name in names.values():
        assert name.isprintable() and not set(name) & set('<>:"/\\|?*')
        assert not name.startswith((".", " "))
