"""Metrics: one class and one YAML file (conf/metric) each. A class says which fields of a batch it needs."""
