"""Figures: functions on arrays and rows that return `matplotlib.figure.Figure`, without pyplot or a display."""
