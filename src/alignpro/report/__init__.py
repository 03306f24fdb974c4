"""The report of a run: one self-contained HTML page, and one figure for a README, both from the run's folder alone."""

from __future__ import annotations

from alignpro.report.fit_pages import write_reward_report, write_sft_report
from alignpro.report.readme_figure import write_readme_figure
from alignpro.report.run_page import write_report

__all__ = ["write_readme_figure", "write_report", "write_reward_report", "write_sft_report"]
