"""What the farm dispatcher does: plan cells and run them."""
