"""Settings of the processes that train, before torch is loaded.

Bits are promised for these: one thread, and a matrix library indifferent to alignment.
"""

import pytest

from studies.engine.processes import prepare_environment

prepare_environment()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest test first, so that no worker waits for it in the end."""
    items.sort(key=lambda item: item.path.name != "test_survival.py")
