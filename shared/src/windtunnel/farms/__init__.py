"""Device farms: what holds for all devices of one, and the kinds of failure that farms tell apart."""
