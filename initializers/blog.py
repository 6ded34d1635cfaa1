"""The initialisations of N. Doshi's blog "Deep Learning Best Practices (1): Weight Initialization"
(2018), under the names that it uses. Its formulas are recalled; the sources are those of the
classical methods.
"""

from __future__ import annotations

from initializers.classical import GlorotNormal, HeNormal, LeCunNormal
from initializers.simple import Random, Zeros


def blog_zero() -> Zeros:
    """Return weights 0: all hidden units stay alike.

    Formula:
        w = 0

    Source:
        N. Doshi 2018, Deep Learning Best Practices (1): Weight Initialization (blog)
    """
    return Zeros()


def blog_random(std: float = 1.0) -> Random:
    """Return N(0, std^2), in the blog N(0, 1): signals vanish or explode.

    Formula:
        w ~ N(0, std^2)

    Source:
        N. Doshi 2018, Deep Learning Best Practices (1): Weight Initialization (blog)
    """
    return Random(std)


def blog_he() -> HeNormal:
    """Return N(0, 2 / fan_in), for ReLU.

    Formula:
        w ~ N(0, 2 / fan_in)

    Source:
        N. Doshi 2018, Deep Learning Best Practices (1): Weight Initialization (blog)
    """
    return HeNormal()


def blog_xavier() -> LeCunNormal:
    """Return N(0, 1 / fan_in), for tanh; elsewhere LeCun's rule.

    Formula:
        w ~ N(0, 1 / fan_in)

    Source:
        N. Doshi 2018, Deep Learning Best Practices (1): Weight Initialization (blog)
    """
    return LeCunNormal()


def blog_xavier_both() -> GlorotNormal:
    """Return N(0, 2 / (fan_in + fan_out)), the blog's variant; elsewhere Glorot's rule.

    Formula:
        w ~ N(0, 2 / (fan_in + fan_out))

    Source:
        N. Doshi 2018, Deep Learning Best Practices (1): Weight Initialization (blog)
    """
    return GlorotNormal()
