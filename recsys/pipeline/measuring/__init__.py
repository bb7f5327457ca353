"""How good models and lists are: the stage `gate`, evaluation, experiments."""
