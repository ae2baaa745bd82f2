"""Codes of section types, ascending in the order in which neurodamus walks the section lists of a cell.

1 to 4 are those of SWC, which MorphIO uses too. Order of the lists: somatic, axonal, basal, apical, AIS, nodal,
myelinated (neurodamus 4.2, CompartmentMapping).
"""

SOMA, AXON, BASAL, APICAL, AIS, NODE, MYELIN = range(1, 8)
