"""The JSON configurations of CellBox (Yuan et al., Cell Systems 12:128, 2021).

Read for meaning: ``cellbox/config.py``, ``dataset.py``, ``model.py``, ``kernel.py``, ``train.py``
and ``scripts/main.py`` of sanderlab/CellBox.
"""
