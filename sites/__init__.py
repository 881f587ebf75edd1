"""Where an experiment happens, and what has happened there: tables, ledger, inbox, registry."""
