"""Receives frames, stores them byte for byte, answers with Receipts."""
