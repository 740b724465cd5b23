"""Concept vectors in the h-space of frozen text-to-image diffusion models: find, train, apply, measure."""

__version__ = "0.1.0"
