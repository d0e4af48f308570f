"""What the vectors tell, a module a primitive. Its ``write`` adds the cases that no header can give by itself."""
