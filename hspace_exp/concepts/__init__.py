"""Concept vectors: their files, and how they are learned."""
