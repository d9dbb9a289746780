"""Commands on the whole installation: starting it, its devices, stored plans and dead letters."""
