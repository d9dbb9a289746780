"""Folders as archives, and archives that nobody trusts."""
