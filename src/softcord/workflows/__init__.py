"""What joins use cases: segment and review, the demo. Import the one that is needed."""
