"""What a remedy tries: recipes, candidates, and the order in which they are tried."""
