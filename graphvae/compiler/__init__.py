"""Text in, text out: a YAML spec becomes PyTorch source. Nothing here loads torch."""
