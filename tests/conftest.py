"""Settings of the processes that train, before torch is loaded.

Bits are promised for these: one thread, and a matrix library indifferent to alignment.
"""

from studies.engine.processes import prepare_environment

prepare_environment()
