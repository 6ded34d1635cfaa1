"""The machinery behind every study: search, confirmation, comparison, tracking and report."""
