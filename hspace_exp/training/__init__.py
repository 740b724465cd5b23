"""From images or runs of the frozen model to vectors."""
