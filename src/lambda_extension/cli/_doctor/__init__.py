"""Checks for what goes wrong with extensions and layers once they are deployed."""
