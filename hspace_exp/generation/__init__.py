"""Images: guided sampling, edited and unedited, and the public `steer`."""
