"""What runs the vectors in other languages."""
