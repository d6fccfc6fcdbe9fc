"""The crawl: a worklist of models, workers that fingerprint them, and a driver that survives what models do.

`fingerprinter` and `worklist` are plain Python and know no Ray; `pool` is the Ray side; `crawl` joins them with
the index.
"""
