"""Data: vocabularies of text, checks of binarised data, generators of probes, the label cache."""
