"""Package formats: reading and writing zip files, APKs and their signatures, host bundles."""
