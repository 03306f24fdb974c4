"""The same objective in other trainers, through what they publish for rewards: `trl`, `verl`.

Neither package is imported here; each adapter is what that trainer asks a reward to be.
"""
