"""Tests against AWS's own emulator, and what starts it."""
