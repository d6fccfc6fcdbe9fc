"""From fingerprints to an answer: centring by a cohort, scores of a pair, judgement on two axes."""
