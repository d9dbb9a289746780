"""The farm dispatcher: device filters of a plan become cells, and farms run them."""
