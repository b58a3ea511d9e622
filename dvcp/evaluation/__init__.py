"""Measuring methods against true colour: metrics, tables, plots."""
