"""Who may come in, and how they prove it: key, accounts, sessions, tokens, links, and the journal of all that."""
