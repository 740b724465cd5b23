"""The embedded world: people and scenes with a known bias, and the models trained on them."""
