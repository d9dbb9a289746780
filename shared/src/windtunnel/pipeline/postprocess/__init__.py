"""What follows a model: from its outputs to what an app shows."""
