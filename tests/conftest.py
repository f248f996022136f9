"""What holds for every test of the harness."""

from hypothesis import settings

# A property does not fail because the machine is busy: durations are for bench/.
settings.register_profile("harness", deadline=None)
settings.load_profile("harness")
