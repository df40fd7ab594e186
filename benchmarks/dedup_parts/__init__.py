"""The parts of benchmarks/dedup.py: corpus, truth, measuring, and one small runner a system."""
