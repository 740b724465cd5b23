"""One run: the configuration, its stages, its record."""
