"""Measurements on any network: what flows through it, back through it, and how it is scaled.

    >>> from torch import nn, randn
    >>> network = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    >>> diagnosis = diagnose(network, randn(32, 64))
    >>> sorted(diagnosis.values("second_moment", "weight"))
    ['0', '2']

Nothing is left behind: hooks, modes, buffers, gradients and random generators are as before.
"""

from lightning_modules.diagnostics.callback import Diagnostics
from lightning_modules.diagnostics.chi import measure_chi
from lightning_modules.diagnostics.correlation import measure_correlation
from lightning_modules.diagnostics.diagnose import Tier, diagnose
from lightning_modules.diagnostics.jacobian import measure_jacobian
from lightning_modules.diagnostics.moments import Moments, measure_signals
from lightning_modules.diagnostics.quotient import measure_quotient
from lightning_modules.diagnostics.rows import Diagnosis, Gap, Row, finite, write_csv
from lightning_modules.diagnostics.sites import Site, watched
from lightning_modules.diagnostics.summary import summarise
from lightning_modules.diagnostics.undisturbed import Statistics, calibrated, undisturbed
from lightning_modules.diagnostics.weights import Start, measure_strengths, measure_weights

__all__ = [
    "Diagnosis",
    "Diagnostics",
    "Gap",
    "Moments",
    "Row",
    "Site",
    "Start",
    "Statistics",
    "Tier",
    "calibrated",
    "diagnose",
    "finite",
    "measure_chi",
    "measure_correlation",
    "measure_jacobian",
    "measure_quotient",
    "measure_signals",
    "measure_strengths",
    "measure_weights",
    "summarise",
    "undisturbed",
    "watched",
    "write_csv",
]
