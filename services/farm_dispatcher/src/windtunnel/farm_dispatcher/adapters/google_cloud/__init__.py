"""What the farms of Google share: credentials, errors, and the bucket of their results."""
