"""Sweeps (``python -m hspace_exp -m …``): jobs fail alone, a report ends them, each has its GPU and its W&B group."""
