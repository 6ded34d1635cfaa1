"""Recording studies in MLflow: configuration, tracker, environment, UI command.

Importing this package is light; MLflow is imported by `Tracker.open`.
"""

from studies.engine.tracking.config import TrackingConfig, load_tracking_config
from studies.engine.tracking.environment import environment_tags, machine
from studies.engine.tracking.errors import TrackingError
from studies.engine.tracking.summary import TrackingSummary
from studies.engine.tracking.tracker import Tracker
from studies.engine.tracking.ui import ui_command

__all__ = [
    "Tracker",
    "TrackingConfig",
    "TrackingError",
    "TrackingSummary",
    "environment_tags",
    "load_tracking_config",
    "machine",
    "ui_command",
]
