"""A model graph in, pictures out. Nothing here loads torch."""
