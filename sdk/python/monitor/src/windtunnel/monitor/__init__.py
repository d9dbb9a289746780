"""Records what an app feeds its model and what comes out."""
