"""The quantizer: a float32 TFLite model becomes the variants that the plan asks for."""
