"""What a configuration may hold, and how a command says what is wrong with it."""
