"""What runs need beside the package, whether it is here, and how to get it."""
