"""The embedded world: people and scenes with a known bias, and the models trained on them."""

from pathlib import Path

# Folder of the embedded model's weights; models of the same world that judge or segment lie below it.
EMBEDDED = Path(__file__).resolve().parent / "weights"

# Folder of ready-made vectors of that model, by method=focused: female, male, young, old, light, tan, dark.
CONCEPTS = EMBEDDED.parent / "concepts"
