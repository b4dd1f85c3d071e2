"""The storage on PostgreSQL, 15 or newer."""
