"""A chaos run: people use a hub while its parts fail by chance, and nothing may be lost."""
