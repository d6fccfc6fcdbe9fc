"""Coefficients that ship with provray, fitted on a zoo of known lineage."""
