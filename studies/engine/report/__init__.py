"""What a study prints and the files it leaves."""

from studies.engine.report.answer import answer
from studies.engine.report.files import write_results
from studies.engine.report.table import comparison_table

__all__ = ["answer", "comparison_table", "write_results"]
