"""The report of a study: one HTML file with its verdict, figures and facts."""

from pipeline.report.report import render, write_report

__all__ = ["render", "write_report"]
