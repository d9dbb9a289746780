"""A prose check: home-made idioms, British spelling and long sentences, by the rules in tools/prose_rules.toml."""
