"""What a study prints and the files it leaves."""

from studies.engine.report.answer import answer
from studies.engine.report.files import write_results
from studies.engine.report.table import comparison_table
from studies.engine.report.terminal import verdict_text
from studies.engine.report.write import REPORT_FILE, write_report

__all__ = [
    "REPORT_FILE",
    "answer",
    "comparison_table",
    "verdict_text",
    "write_report",
    "write_results",
]
