"""What the API takes and gives, as its document shows it."""
