"""Farm runs as durable things: cells are queued, and one leader for each farm takes them to their end.

Everything that must survive is a record in a bucket that is changed by compare and set. `records` knows the keys,
`leases` decides who leads, `lead_farm` packs cells into farm runs, `follow_run` takes one farm run from state to state,
`end_cells` says how cells ended.
"""
