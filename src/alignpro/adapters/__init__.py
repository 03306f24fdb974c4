"""Other packages, through what they publish for it: rewards of the trainers `trl` and `verl`, hooks of `litellm`.

None is imported at the top; each adapter is what that package asks for.
"""
