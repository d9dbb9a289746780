"""The page of an app: its diagnosis, and its samples next to what the reference feeds."""
