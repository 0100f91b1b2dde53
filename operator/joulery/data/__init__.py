"""Data that ships with Joulery: traces and profiles, with licence and attribution."""
