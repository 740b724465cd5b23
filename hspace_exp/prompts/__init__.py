"""What images are asked for: attributes, prompts, and which image shows what."""
