"""The published procedure as a yardstick, and how much faster this repository is: `make bench`."""
