"""From the reserved request to the settled award."""
