"""A whole installation of dvcp: as containers, on Kubernetes, and, from the same description, as plain processes of one machine."""
