"""How fast the package is, against the loops that it improves on; see README.md."""
