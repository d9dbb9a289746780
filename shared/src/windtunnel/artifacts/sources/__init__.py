"""What users' events point to, brought in: their buckets, https:// files and local files."""
