"""The hub over HTTP: one controller file a noun, and what is true of every request and answer."""
