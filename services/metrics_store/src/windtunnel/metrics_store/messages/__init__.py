"""Between the protobuf contracts and the values of the domain."""
