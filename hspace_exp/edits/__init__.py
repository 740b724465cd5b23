"""What is done to h while an image is made, one idea a file."""
