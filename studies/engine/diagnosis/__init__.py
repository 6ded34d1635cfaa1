"""What `python -m studies.diagnose` measures, predicts, prints and draws."""
