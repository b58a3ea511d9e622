"""What leaves the house: copies, the proof that goes with them, and the bag they travel in."""
