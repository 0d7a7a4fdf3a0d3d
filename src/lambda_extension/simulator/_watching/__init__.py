"""What a simulation saw: its clock, its record, its findings, its timeline."""
