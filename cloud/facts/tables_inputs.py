"""Tables of what people enter: ledger items, calendars, windows, inspections, exclusions, policies."""
