"""Score images made elsewhere with the code that scores runs."""
