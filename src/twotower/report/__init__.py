"""A report on a run: one HTML file that opens offline. Needs the extra ``report``.

>>> from twotower.report import write_report  # doctest: +SKIP
>>> write_report("runs/first").path  # doctest: +SKIP
PosixPath('runs/first/report.html')
"""

from twotower.report.case import CHOICES, Case
from twotower.report.doctor import PROBES, examine
from twotower.report.writing import Report, html_of, write_report

__all__ = ["CHOICES", "PROBES", "Case", "Report", "examine", "html_of", "write_report"]
