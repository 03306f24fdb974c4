import numpy as np
import pytest

from alignpro.maths.rounding import difference


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (0.3, 0.1 + 0.2),
        (3e-7, 1e-7 + 2e-7),
        (0.7e16, 7 * 0.1e16),
        (7 * 100.1, sum([100.1] * 7)),
        (float(np.float32(0.1) * np.float32(3)), float(np.float32(0.3))),
        (float(sum(np.float32(x) for x in (0.1, 0.7, 0.3))), float(sum(np.float32(x) for x in (0.7, 0.3, 0.1)))),
    ],
)
def test_what_is_equal_but_for_rounding_is_equal(a, b):
    assert difference(a, b) == difference(b, a) == 0


@pytest.mark.parametrize(
    ("a", "b"), [(1e-6, 2e-6), (1e9, 1e9 + 1), (16_777_215, 16_777_216), (1.0, 1.00001), (0, 1e-30)]
)
def test_what_differs_differs(a, b):
    assert difference(a, b) == a - b


def test_what_has_no_value_has_no_difference_and_infinities_are_no_rounding():
    assert np.isnan(difference([np.nan, np.inf], [1.0, np.inf])).all()
    assert difference(np.inf, 1.0) == np.inf
    assert difference([[1.0], [2.0]], [1.0, 2.0]).tolist() == [[0, -1], [1, 0]]
