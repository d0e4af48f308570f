"""What every primitive is built from: keys, scripts, calls, flows and the hub that runs them."""
