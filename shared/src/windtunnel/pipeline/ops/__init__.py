"""What each op of a pipeline computes: `registry` lists them, `image`, `audio` and `text` hold them."""
