import pytest

from storage.errors import InvalidInputError
from tasks.inference.detections import Detection
from tasks.inference.runs.live_dead import count_by_class, count_live_and_dead, live_dead_classes

COCO = ("person", "bicycle", "car")


def found(*class_ids):
    return [Detection(class_id, 0.9, (0, 0, 1, 1), ()) for class_id in class_ids]


def test_classes_are_counted_by_name_in_the_order_of_their_ids():
    counts = count_by_class(found(2, 0, 2, 7), COCO)
    assert list(counts.items()) == [("person", 1), ("car", 2), ("7", 1)]
    assert count_by_class([], COCO) == {}
    assert count_by_class(found(0, 1), ("mussel", "mussel")) == {"mussel": 2}


@pytest.mark.parametrize(
    ("names", "live", "dead"),
    [
        (("live", "dead"), {0}, {1}),
        (("Dead", " LIVE "), {1}, {0}),
        (("stone", "live", "Live"), {1, 2}, set()),
        # The first two classes are no mussels just because they come first.
        (COCO, set(), set()),
        (("0", "1"), set(), set()),
    ],
)
def test_live_and_dead_are_found_by_name_in_any_case_and_never_by_number(names, live, dead):
    classes = live_dead_classes(names)
    assert (classes.live, classes.dead) == (live, dead)


def test_a_mapping_replaces_the_names():
    classes = live_dead_classes(COCO, {"Person": "LIVE", "car": "dead"})
    assert count_live_and_dead(found(0, 0, 1, 2), classes) == (2, 1)
    assert live_dead_classes(("live", "dead"), {"live": "dead"}).dead == {0}
    assert live_dead_classes(("live", "dead"), {"live": "dead"}).live == frozenset()


def test_a_number_in_the_mapping_is_an_id_only_where_no_class_is_named_so():
    assert live_dead_classes(COCO, {"1": "live"}).live == {1}
    assert live_dead_classes(("1", "0"), {"1": "live"}).live == {0}


@pytest.mark.parametrize("mapping", [{"mussel": "live"}, {"person": "alive"}, {"3": "dead"}])
def test_a_mapping_that_does_not_fit_is_refused(mapping):
    with pytest.raises(InvalidInputError, match="class mapping"):
        live_dead_classes(COCO, mapping)


@pytest.mark.parametrize(
    "mapping",
    [{"car": "live", "CAR": "dead"}, {"car": "live", "2": "dead"}, {"Car": "dead", "car ": "live"}],
)
def test_no_class_counts_as_both_live_and_dead(mapping):
    with pytest.raises(InvalidInputError, match="'car' to both live and dead"):
        live_dead_classes(COCO, mapping)
    assert live_dead_classes(COCO, dict.fromkeys(mapping, "dead")).dead == {2}
