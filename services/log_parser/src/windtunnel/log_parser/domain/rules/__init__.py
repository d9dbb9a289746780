"""The rules that read a message: one table, in order, and what each says of the run."""
