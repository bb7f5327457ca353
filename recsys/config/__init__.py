"""How a config is read and what its errors say; what it holds lies beside what each section configures."""
