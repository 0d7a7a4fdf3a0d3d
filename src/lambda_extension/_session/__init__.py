"""One extension's life: register, listen, poll, and end in order."""
