"""Tests; a package, as some installed package calls itself so, too."""
