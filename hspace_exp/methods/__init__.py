"""How vectors are found and how they enter h, one method a file."""
