"""The streaming runtime: a plan of segments, Ray actors that stream windows through a method, and the steps of a whole job."""
