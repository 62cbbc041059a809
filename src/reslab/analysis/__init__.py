"""What can be said of a network and of a run: complexity, summaries, curves."""
