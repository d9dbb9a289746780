"""Between the values of the farm dispatcher and protobuf messages."""
