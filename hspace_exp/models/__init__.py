"""Frozen text-to-image models, and the places where they are read and steered."""
