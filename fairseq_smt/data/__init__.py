"""Data: vocabularies of text, images as symbols, checks of binarised data, generators of probes, the label cache."""
