"""What the quantizer talks to: litert-quantizer."""
