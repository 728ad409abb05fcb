"""odekit: diffusion ODEs and SDEs, their integrators, and the proof of their orders."""
