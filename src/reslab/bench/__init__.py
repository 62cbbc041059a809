"""Speed and memory in figures that can be compared: ours and its peers, taking turns within one run.

turns.py        contenders, each a process of its own, that take turns
records.py      what comes of it: medians, ratios, and the record that a file holds
rates.py        what the machine reaches at all: matrix products and copies
training.py     training steps, against the loops that most people write
inference.py    networks at work, against other engines
pipeline.py     from JPEG files to labels
memory.py       the peak of a training process
"""
