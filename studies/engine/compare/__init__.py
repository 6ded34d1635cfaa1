"""Paired comparison of the arms of a study over a common set of seeds.

`compare` (all arms against one reference) and `compare_pairs` (a list of pairs) take an outcome
(test accuracy, if no other) per arm and seed and return `Comparisons`: means with
BCa bootstrap intervals, exact Wilcoxon signed-rank tests and equivalence tests with Holm's
correction, and a verdict for every comparison, which `sentence` puts into words. Needs NumPy and
SciPy only.
"""

from studies.engine.compare.bootstrap import Interval, bca_intervals, mean_interval
from studies.engine.compare.equivalence import equivalence_test
from studies.engine.compare.family import compare, compare_pairs, summarise
from studies.engine.compare.judgement import judge
from studies.engine.compare.multiplicity import holm
from studies.engine.compare.outcome import (
    TEST_ACCURACY,
    TRAIN_ACCURACY,
    Outcome,
    after_epoch,
    epochs_to,
    final,
)
from studies.engine.compare.pairing import paired_differences
from studies.engine.compare.power import difference_power, equivalence_power, seeds_needed
from studies.engine.compare.results import ArmSummary, Comparison, Comparisons, Verdict
from studies.engine.compare.signed_rank import SignedRank, signed_rank_test
from studies.engine.compare.wording import difference_text, interval_text, seeds_text, sentence

__all__ = [
    "TEST_ACCURACY",
    "TRAIN_ACCURACY",
    "ArmSummary",
    "Comparison",
    "Comparisons",
    "Interval",
    "Outcome",
    "SignedRank",
    "Verdict",
    "after_epoch",
    "bca_intervals",
    "compare",
    "compare_pairs",
    "difference_power",
    "difference_text",
    "epochs_to",
    "equivalence_power",
    "equivalence_test",
    "final",
    "holm",
    "interval_text",
    "judge",
    "mean_interval",
    "paired_differences",
    "seeds_needed",
    "seeds_text",
    "sentence",
    "signed_rank_test",
    "summarise",
]
