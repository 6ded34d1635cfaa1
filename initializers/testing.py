"""The contract that every initialiser keeps, as checks to run over your own.

>>> from initializers import Ternary
>>> check_initializer(Ternary(density=0.1))

In a pytest suite, one test per check::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_contract(check):
        check(MyInitializer(scale=2.0))

Every check takes an initialiser and raises AssertionError with a sentence that says what is broken.
A class with ``stochastic = False`` may give the same weights for two seeds; one that overrides
``run`` may let layers depend on one another; one that overrides ``fill_bias`` may set biases. An
initialiser may refuse a module with ValueError, as long as it does so before it changes anything.
One that needs a topology is tried on a network with residual blocks and self-attention.
"""

from __future__ import annotations

from collections.abc import Callable

from initializers.base import Initializer
from initializers.testing_draws import (
    check_added_layer_changes_no_other,
    check_dtypes,
    check_generator,
    check_global_generators_untouched,
    check_memory_format,
    check_same_seed_same_weights,
    check_seed_or_generator,
    check_seeds_differ,
)
from initializers.testing_effects import (
    check_accounts_for_every_parameter,
    check_biases_and_norms,
    check_module_is_left_alone,
    check_record,
    check_refuses_before_changing,
)
from initializers.testing_modules import network as network
from initializers.testing_values import check_is_a_value, check_serialises

Check = Callable[[Initializer], None]

CHECKS: tuple[Check, ...] = (
    check_same_seed_same_weights,
    check_seeds_differ,
    check_seed_or_generator,
    check_generator,
    check_global_generators_untouched,
    check_added_layer_changes_no_other,
    check_accounts_for_every_parameter,
    check_biases_and_norms,
    check_module_is_left_alone,
    check_dtypes,
    check_memory_format,
    check_refuses_before_changing,
    check_record,
    check_is_a_value,
    check_serialises,
)


def check_initializer(initializer: Initializer) -> None:
    """Run every check of ``CHECKS``.

    Raises:
        AssertionError: If one fails, with its reason.
    """
    for check in CHECKS:
        check(initializer)
