"""Measurements, verdicts, figures and the report: the room above odekit."""
