"""What the simulated platform answers."""
