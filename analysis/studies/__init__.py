"""Studies: one file for each experiment that is reproduced, from a table of what is asked to a page that tells it."""
