"""What an app does to audio on the way to its model, found by reproducing what it fed."""
