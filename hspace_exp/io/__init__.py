"""Files, seeds and digests: what every other room writes and draws with."""
