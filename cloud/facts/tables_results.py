"""Tables of issued results and their revisions; imported values, targets, assessments."""
