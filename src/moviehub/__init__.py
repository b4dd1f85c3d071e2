"""moviehub: a movie catalogue, accounts, favourites and ratings over HTTP."""
