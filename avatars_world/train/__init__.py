"""Retraining of the embedded world's models: data, autoencoder, U-Net with text encoder, OpenCLIP, SAM and probe."""
