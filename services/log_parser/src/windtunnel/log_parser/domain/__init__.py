"""What a benchmark log says, and the rules that read it. No transport."""
