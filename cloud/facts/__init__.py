"""What frames and people said, as sets, and the timelines that follow from them."""
