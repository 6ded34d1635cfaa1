"""What the server process of the workers imports, so that every worker has it already."""

import gc

from studies.engine.uncollected import uncollected

with uncollected():
    import studies.engine.calibration
    import studies.engine.worker  # noqa: F401
gc.freeze()
