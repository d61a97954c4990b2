"""Numbers with bounds: pure functions of facts, inputs, window and now."""
