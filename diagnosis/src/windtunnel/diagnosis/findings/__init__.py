"""What a comparison says: layers, outputs, causes, exclusions.

Values without behavior of their own; every other room builds them.
"""
