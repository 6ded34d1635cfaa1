import os

# Equal operands must give equal bits wherever they lie in memory; MKL reads this when it loads.
os.environ.setdefault("MKL_CBWR", "AUTO")
