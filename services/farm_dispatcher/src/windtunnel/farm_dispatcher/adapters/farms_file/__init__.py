"""farms.yaml: the farms of an installation."""
