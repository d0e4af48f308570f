"""One decision from one process of each language, beside the bare EVALSHA of the same client."""
