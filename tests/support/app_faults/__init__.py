"""Apps around a model with known faults, made from seeds, and right apps by independent implementations.

Nothing here uses the rules of the diagnosis: the faults are planted without knowledge of what finds them.
"""
