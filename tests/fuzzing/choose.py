"""Of the inputs that libFuzzer's merge has measured, prints those that together reach the most, best first.

Usage: choose.py CONTROL_FILE CORPUS ROOM BYTES_MAX   CONTROL_FILE: what -merge_control_file left
Each next one is the input that reaches the most that none before reaches; of equal ones the shortest. What stands in the folder
CORPUS is chosen already.
"""

import os
import sys


def measured(control_file):
    """What each input reaches, by its file."""
    with open(control_file, encoding="utf-8") as lines:
        count = int(next(lines))
        next(lines)  # how many of them stand in the merge's first folder
        files = [next(lines).rstrip("\n") for _ in range(count)]
        words = (line.split() for line in lines)
        return {files[int(nth)]: set(reached) for kind, nth, *reached in words if kind == "FT"}


def main():
    control_file, corpus, room, bytes_max = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    reached = measured(control_file)
    known = set()
    for file in [file for file in reached if os.path.dirname(file) == corpus]:
        known |= reached.pop(file)
    sizes = {file: os.path.getsize(file) for file in reached}
    candidates = {file for file, size in sizes.items() if size <= bytes_max}
    for _ in range(room):
        best = max(candidates, key=lambda file: (len(reached[file] - known), -sizes[file]), default=None)
        if best is None or not reached[best] - known:
            return
        print(best)
        known |= reached[best]
        candidates.discard(best)


main()
