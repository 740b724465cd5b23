"""Measurement of the embedded world's models: every number of the model card comes from here."""
