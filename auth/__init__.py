"""Who is asking, and who may do what (D11)."""
