"""Who comes in, in which language, under which rules: what the pages and the API share."""
