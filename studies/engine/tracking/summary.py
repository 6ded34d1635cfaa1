"""What became of the records, in numbers and in one sentence."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrackingSummary:
    """What became of all records.

    Attributes:
        written: Records that are in the store.
        present: Records skipped because the store had them already (a study run again).
        waiting: Records kept in the spool because the store is away.
        refused: Records kept in the spool that the store did not take.
        failed: Records that are lost.
        first_error: What went wrong first, without credentials; None if nothing did.
        spool: The spool file; None where there is none.

    Source: derived.
    """

    written: int = 0
    present: int = 0
    waiting: int = 0
    refused: int = 0
    failed: int = 0
    first_error: str | None = None
    spool: Path | None = None

    @property
    def left(self) -> int:
        """Records that are kept to be sent later."""
        return self.waiting + self.refused

    @property
    def message(self) -> str | None:
        """One sentence for the user about records that are not in the store, or None."""
        total = self.written + self.present + self.left + self.failed
        if self.failed:
            return (
                f"{self.failed} of {total} tracking records could not be written to MLflow "
                f"(first: {self.first_error}); the study's own results are complete"
            )
        if not self.left or self.spool is None:
            return None
        return (
            f"{self.left} of {total} tracking records are not in MLflow yet "
            f"({self.first_error}); they are kept, and sent by the next start or by: "
            f"python -m studies.sync {self.spool.parent}"
        )
