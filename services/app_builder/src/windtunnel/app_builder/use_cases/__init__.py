"""What the app builder does: put a model and its configuration into an app package."""
