"""The ops on texts and on ids of tokens."""
