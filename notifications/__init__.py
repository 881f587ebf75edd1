"""Who is told, in which words, by which channel."""
