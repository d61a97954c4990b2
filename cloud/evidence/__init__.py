"""What an auditor takes away and checks without us: frames, chain, daily roots, inputs, records."""
