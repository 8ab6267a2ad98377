"""Other people's weight files, read into NumPy arrays without running anything that they contain."""
