"""The YAML configurations of CellBox.jl (Ji et al., arXiv 2104.06467).

Read for meaning: ``cellbox/header.jl``, ``network.jl``, ``train.jl``, ``callback.jl`` and
``export.jl`` of jiweiqi/CellBox.jl.
"""
