"""nnU-Net v2 models, read and run without torch."""
