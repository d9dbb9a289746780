"""The container of an edge log: MCAP files, written chunk by chunk, read in order whatever happened to them."""
