"""Studies: one runnable module per question, and the engine that conducts them."""
