"""Interop: other people's schedulers and samplers, seen as samplers of ours."""
