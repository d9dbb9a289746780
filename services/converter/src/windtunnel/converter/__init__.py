"""The converter: a trained model becomes float32 TFLite, and the result is compared with the original."""
