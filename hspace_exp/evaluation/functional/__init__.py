"""Formulas of the evaluation: pure functions of tensors."""
