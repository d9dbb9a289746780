"""What an app does to text on the way to its model, found by reproducing the ids that it fed."""
