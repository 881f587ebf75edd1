"""What an experiment is, and what may happen next. Pure: values in, values out."""
