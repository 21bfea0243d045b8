"""Forecasts written down before their targets are measured, and scored when they have been."""

from pipeline.forecasts.checking import Check, Scored, check
from pipeline.forecasts.due import check_ledger
from pipeline.forecasts.entry import Entry, LawForecast
from pipeline.forecasts.figure import draw_allocation, draw_check
from pipeline.forecasts.first import ForecastFirst
from pipeline.forecasts.held_out import forecast_held_out
from pipeline.forecasts.ledger import Fault, Ledger, Receipt, entries_to_json
from pipeline.forecasts.making import Fitted, distance, everything_fitted, fit_laws, make_entry
from pipeline.forecasts.publishing import publish
from pipeline.forecasts.targets import CELL_KEYS, Targets, held_out_targets, matches, named_targets

__all__ = [
    "CELL_KEYS",
    "Check",
    "Entry",
    "Fault",
    "Fitted",
    "ForecastFirst",
    "LawForecast",
    "Ledger",
    "Receipt",
    "Scored",
    "Targets",
    "check",
    "check_ledger",
    "distance",
    "draw_allocation",
    "draw_check",
    "entries_to_json",
    "everything_fitted",
    "fit_laws",
    "forecast_held_out",
    "held_out_targets",
    "make_entry",
    "matches",
    "named_targets",
    "publish",
]
