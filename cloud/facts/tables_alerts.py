"""Tables of alerts, rules, storms, duties."""
