"""Recipes to come."""
