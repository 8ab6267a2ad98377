"""Plain NumPy references: written for clarity, in loops, sharing nothing with what they check."""
