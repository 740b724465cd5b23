"""A page to feel concepts with: ``python -m hspace_exp studio``."""
