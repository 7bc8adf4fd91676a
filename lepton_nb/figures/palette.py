"""Colours that colour-blind readers can tell apart."""

# Okabe and Ito, Color Universal Design (2008). The yellow, faint on white, comes last.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#F0E442")
GREY = "#888888"
