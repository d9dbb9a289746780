"""The format of a trained model, from its content. Nothing of the model is run."""
