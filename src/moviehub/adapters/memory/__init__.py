"""The whole outside world in dicts."""
