"""The index: fingerprints in a versioned Delta table, and nearest neighbours of one version by FAISS."""
