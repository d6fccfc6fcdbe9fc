"""How well each kind of evidence names ancestors, on families that nothing was fitted on.

- `cases`: who is asked about whom: suspects, candidates, hard strangers, folds
- `parts`: every fingerprint part as a matrix of scores
- `outputs`, `baselines`: what simple people would try, from weights and outputs
- `fusion`: all parts together, fitted on one fold and scored on the other
- `metrics`: AUC, first places, true positives at a false-positive rate, with intervals over families
- `board`, `report`: the whole, as data, tables and a picture
"""
