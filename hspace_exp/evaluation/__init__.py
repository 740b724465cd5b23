"""Measures of generated images: pure formulas, accumulating metrics, judges, and one function that runs them all."""
