"""Commands on runs: starting, following, reporting, comparing and ending them."""
