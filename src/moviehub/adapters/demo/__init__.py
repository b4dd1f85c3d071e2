"""A catalogue that needs no key and no network."""
