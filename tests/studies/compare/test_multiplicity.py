import numpy as np
import pytest

from studies.engine.compare.multiplicity import holm


def test_hand_worked() -> None:
    # Sorted: .005 * 4 = .02; .01 * 3 = .03; .03 * 2 = .06; .04 * 1 = .04, raised to .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02], rel=1e-12)


def test_capped_monotone_and_in_the_given_order() -> None:
    # .4 * 3 = 1.2 -> 1, and nothing above it may be smaller.
    assert holm([0.5, 0.4, 0.9]).tolist() == [1, 1, 1]
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([0.2]).tolist() == [0.2]
    assert holm([]).size == 0
    rng = np.random.default_rng(0)
    p = rng.uniform(size=30) ** 3
    adjusted = holm(p)
    order = np.argsort(p)
    assert np.all(np.diff(adjusted[order]) >= 0)
    assert np.all((adjusted >= p) & (adjusted <= np.minimum(1, 30 * p)))
    mixed = rng.permutation(30)
    assert np.array_equal(holm(p[mixed]), adjusted[mixed])


@pytest.mark.parametrize("bad", [[-0.1], [1.1], [float("nan")], [[0.1]]])
def test_bad_input(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(bad)
