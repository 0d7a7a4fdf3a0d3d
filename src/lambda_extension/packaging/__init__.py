"""From a script to a layer that starts."""
