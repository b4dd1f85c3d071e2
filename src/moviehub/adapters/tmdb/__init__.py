"""TMDb, the source of films."""
