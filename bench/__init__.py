"""Speed, measured: `python -m bench gates …`, `python -m bench flat`."""
