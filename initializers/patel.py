"""The four initialisations of Patel, Nandu and Raut 2019, "Initialization of Weights in Neural
Networks", under the names that they use there.

The paper's Xavier is LeCun's rule, not Glorot's; its random weights have the standard deviation of
the printed code, 0.01, where the text says 1. All biases are 0. For a convolution the size of the
layer before is taken as fan_in (our reading). Its tables report running training figures of
networks that it does not describe.
"""

from __future__ import annotations

from initializers.classical import HeNormal, LeCunNormal
from initializers.simple import Random, Zeros


def patel_zero() -> Zeros:
    """Return weights 0.

    Formula:
        w = 0

    Source:
        Patel, Nandu, Raut 2019, Initialization of Weights in Neural Networks
    """
    return Zeros()


def patel_random() -> Random:
    """Return N(0, 0.01^2).

    Formula:
        w ~ N(0, 0.01^2)

    Source:
        Patel, Nandu, Raut 2019, Initialization of Weights in Neural Networks
    """
    return Random(0.01)


def patel_xavier() -> LeCunNormal:
    """Return N(0, 1 / fan_in).

    Formula:
        w ~ N(0, 1 / fan_in)

    Source:
        Patel, Nandu, Raut 2019, Initialization of Weights in Neural Networks
    """
    return LeCunNormal()


def patel_he() -> HeNormal:
    """Return N(0, 2 / fan_in).

    Formula:
        w ~ N(0, 2 / fan_in)

    Source:
        Patel, Nandu, Raut 2019, Initialization of Weights in Neural Networks
    """
    return HeNormal()
