"""What every test runs under: the same random examples on every machine."""

import hypothesis

# Two busy cores are slow at times; a slow example is no failure.
hypothesis.settings.register_profile("house", deadline=None, derandomize=True)
hypothesis.settings.load_profile("house")
