"""The platform's three HTTP APIs: what an extension says to Lambda, and what it is told. Spawns nothing."""
