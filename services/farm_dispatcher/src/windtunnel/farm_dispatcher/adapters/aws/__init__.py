"""The farm `aws`: AWS Device Farm."""
