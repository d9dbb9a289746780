"""The use case `diagnose`: an app against its reference: accuracy, inputs, layers, outputs, times."""
