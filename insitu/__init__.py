"""The doors: command line today, pages and REST next. No decisions are taken here."""
