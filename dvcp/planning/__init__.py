"""What a run will take, before any of it: size, time and price by probing and a short calibration, and simulation for big clusters."""
