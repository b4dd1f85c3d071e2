"""moviehub: a movie catalogue, accounts, favourites and ratings over HTTP."""

__version__ = "0.1.0"
