"""Farm runs that are tasks of the dispatcher's own process."""
