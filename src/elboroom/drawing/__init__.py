"""Figures made of several others."""
