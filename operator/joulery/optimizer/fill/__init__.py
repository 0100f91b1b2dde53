"""Lanes whose instances are filled one by one: problem, pricing, columns, textbook models, checker."""
