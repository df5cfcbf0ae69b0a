"""Summaries, explanations and plots: what people are told, still as values."""
