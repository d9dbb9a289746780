"""Device farms: what holds for all devices of one, and the kinds of failure of their cells."""
