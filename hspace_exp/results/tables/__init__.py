"""Comparisons from records: Markdown, LaTeX or HTML. Never loads a model, nor torch."""
