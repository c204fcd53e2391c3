"""From a file to frames: videos, packs and pictures, each by a reader of its own.

`vjepa.data.clips` is the door.
"""
