"""Named records in files: zip files in and out, and what a file is by its first bytes. Knows no pickle, no tensor."""
