"""From figures and differences to causes: what each is tested by, what is excluded, and the verdict."""
