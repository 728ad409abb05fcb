"""Shared set-up: one torch thread (the suite runs in parallel), no Hypothesis deadlines on busy machines."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("odekit", deadline=None, max_examples=40)
settings.load_profile("odekit")
