"""What a run leaves: record, tables, report, pictures."""
