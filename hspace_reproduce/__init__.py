"""All runs that tables need, then tables and figures from their records."""
