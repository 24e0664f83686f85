"""Sources of collections: kept as JSON, told in words, patterns of paths."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidInputError
from tasks.inference.collection_sources import (
    FolderSource,
    QuerySource,
    like_pattern,
    source_as_json,
    source_from_json,
    source_in_words,
)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (FolderSource("/data/bay"), "folder /data/bay"),
        (QuerySource(), "all projects"),
        (QuerySource(("1", "2")), "project sea, 2"),
        (
            QuerySource(("1",), "east/*", "test", True, 0.5, ("blur", "duplicate")),
            "project sea; path east/*; split test; labeled; quality from 0.5; "
            "without blur, duplicate",
        ),
        (QuerySource(labeled=False), "all projects; not labeled"),
    ],
)
def test_a_source_is_kept_as_json_and_told_in_words(source, words):
    assert source_from_json(source_as_json(source)) == source
    assert source_in_words(source, {"1": "sea"}) == words


def like(pattern: str, value: str) -> bool:
    """LIKE as PostgreSQL documents it, by a regular expression."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    known = {"%": ".*", "_": "."}
    expression = "".join(known.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(expression, value, re.DOTALL) is not None


@given(st.text("ab*?%_\\/.", min_size=1).filter(lambda text: not text.startswith("/")))
def test_only_star_and_question_mark_stand_for_others(glob):
    value = glob.replace("*", "xyz").replace("?", "q")
    assert like(like_pattern(glob), value)
    if not set("*?") & set(glob):
        assert not like(like_pattern(glob), value + "x")
        assert not like(like_pattern(glob), "x" + value[1:]) or value[0] == "x"


@pytest.mark.parametrize("glob", ["", "/data/*"])
def test_a_pattern_that_matches_nothing_is_refused(glob):
    with pytest.raises(InvalidInputError, match="inside the project"):
        like_pattern(glob)
