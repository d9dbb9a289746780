"""Making the variants that a plan asks for, with litert-quantizer in a child process."""
