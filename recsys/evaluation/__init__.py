"""Metrics of ranked lists, slices of users, and the gate."""
