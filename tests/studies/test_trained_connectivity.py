"""What the study of trained connections makes of its claim."""

import pytest

from studies.engine.claims import Evidence
from studies.engine.compare import Comparisons
from studies.trained_connectivity import judge

KERNELS, MODES = ("He", "constant", "asymmetric"), ("min pruning", "min flipping")


@pytest.mark.parametrize(
    ("worse", "changed", "verdict"),
    [
        ("", 0.0, "reproduced"),
        ("min pruning, He", 0.1, "undecided"),
        ("min pruning, asymmetric", 0.2, "reproduced"),
        ("min", 0.1, "not reproduced"),
    ],
)
def test_less_than_a_tenth_changed_for_more_than_nine_tenths(
    worse: str, changed: float, verdict: str
) -> None:
    rows = [{"arm": "weights, He", "seed": seed, "test_accuracy": 0.96} for seed in (0, 1)]
    for arm in (f"{mode}, {kernel}" for mode in MODES for kernel in KERNELS):
        share = changed if worse and arm.startswith(worse) else 0.05
        # In one seed only: all have to agree.
        rows.append({"arm": arm, "seed": 0, "test_accuracy": 0.93, "changed": share})
        rows.append({"arm": arm, "seed": 1, "test_accuracy": 0.93, "changed": 0.05})
    finding = judge(Evidence(Comparisons((), (), 0.5, 0.05), rows))
    assert finding.verdict == verdict
    assert "min flipping, He 96.9 % with" in finding.reason
