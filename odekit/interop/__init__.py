"""Interop: schedulers, samplers and networks of other projects as ours, and ours as theirs."""
