"""Where artifacts are kept: the port, a folder, memory, an S3 or a GCS bucket, and the file cache over any of them."""
